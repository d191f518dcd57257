"""isthmus: every encoder-decoder model, from one straight line of parts.

``x ─ scaler ─ corruption ─ encoder ─ bottleneck ─ decoder ─ loss``. Start with `Autoencoder().fit(X)`.
Names load on first use, so that importing isthmus costs little more than importing torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "isthmus.estimators": [
        "Autoencoder",
        "ContractiveAutoencoder",
        "DenoisingAutoencoder",
        "SparseAutoencoder",
        "VariationalAutoencoder",
    ],
    "isthmus.encoders": ["MLPEncoder"],
    "isthmus.decoders": ["MLPDecoder"],
    "isthmus.bottlenecks": ["Dense", "Gaussian", "Identity"],
    "isthmus.corruptions": ["GaussianNoise", "Masking", "SaltAndPepper"],
    "isthmus.losses": ["AbsoluteError", "BinaryCrossEntropy", "GaussianNLL", "PoissonNLL", "SquaredError"],
    "isthmus.penalties": ["Contractive", "KLPrior", "KLSparsity", "L1Activity", "L1Weights", "L2Weights"],
    "isthmus.scalers": ["AutoScaler", "MinMaxScaler", "StandardScaler", "UnitScaler"],
    "isthmus.optimizers": ["LBFGS", "SGD", "Adam", "AdamW"],
    "isthmus.schedules": ["Constant", "Cosine", "Linear"],
    "isthmus.training.callbacks": ["Binarize", "Callback", "EarlyStopping", "WeightAverage", "WeightSchedule"],
    "isthmus.model": ["EncoderDecoder"],
    "isthmus.objective": ["ImportanceWeighted", "Objective", "TrainStep"],
    "isthmus.types": ["Batch", "Bypass", "Features", "Latent", "Seen", "Space", "Trace"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
