"""scikit-learn's contract over the line. Adding one: its file, its line here, its test."""

from isthmus.estimators.anomaly import AnomalyDetector
from isthmus.estimators.autoencoder import Autoencoder
from isthmus.estimators.contractive import ContractiveAutoencoder
from isthmus.estimators.denoising import DenoisingAutoencoder
from isthmus.estimators.segmenter import Segmenter
from isthmus.estimators.seq2seq import Seq2Seq
from isthmus.estimators.sparse import SparseAutoencoder
from isthmus.estimators.variational import VariationalAutoencoder

__all__ = [
    "AnomalyDetector",
    "Autoencoder",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "Segmenter",
    "Seq2Seq",
    "SparseAutoencoder",
    "VariationalAutoencoder",
]
