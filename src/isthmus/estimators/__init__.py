"""scikit-learn's contract over the line. Adding one: its file, its line here, its test."""

from isthmus.estimators.autoencoder import Autoencoder
from isthmus.estimators.variational import VariationalAutoencoder

__all__ = ["Autoencoder", "VariationalAutoencoder"]
