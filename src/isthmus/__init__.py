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
        "AnomalyDetector",
        "Autoencoder",
        "ContractiveAutoencoder",
        "DenoisingAutoencoder",
        "Segmenter",
        "Seq2Seq",
        "SparseAutoencoder",
        "VariationalAutoencoder",
    ],
    "isthmus.estimators.many": ["fit_many"],
    "isthmus.estimators.search": ["SearchCV"],
    "isthmus.optimizers": ["LBFGS", "SGD", "Adam", "AdamW"],
    "isthmus.schedules": ["Constant", "Cosine", "Linear"],
    "isthmus.training.callbacks": [
        "Binarize",
        "Callback",
        "EarlyStopping",
        "ScheduledSampling",
        "WeightAverage",
        "WeightSchedule",
    ],
    "isthmus.training.launching": ["launch"],
    "isthmus.training.profiling": ["Profile", "profile"],
    "isthmus.training.trackers": ["CSVLogger", "MLflow", "TensorBoard"],
    "isthmus.model": ["EncoderDecoder"],
    "isthmus.objective": ["ImportanceWeighted", "Objective", "TrainStep", "Trimmed"],
    "isthmus.part": [
        "Augmentation",
        "Bottleneck",
        "Corruption",
        "Decoder",
        "Encoder",
        "Loss",
        "Part",
        "Penalty",
        "Scaler",
    ],
    "isthmus.hub": ["from_pretrained"],
    "isthmus.persistence": ["load"],
    "isthmus.stream": ["Stream"],
    "isthmus.types": ["Batch", "Bypass", "Features", "Latent", "Seen", "Space", "Trace"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_FAMILIES = [
    "isthmus.scalers",
    "isthmus.augmentations",
    "isthmus.corruptions",
    "isthmus.encoders",
    "isthmus.bottlenecks",
    "isthmus.decoders",
    "isthmus.losses",
    "isthmus.penalties",
]
"""Folders of parts: a name that one of them lists is public here too, without a line of its own."""


def _parts() -> dict[str, str]:
    return {name: home for home in _FAMILIES for name in importlib.import_module(home).__all__}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted([*_HOME_OF, *_parts(), "__version__"])
    home = _HOME_OF.get(name) or (_parts().get(name) if name[0].isupper() else None)
    if home is None:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __getattr__("__all__")  # type: ignore[no-any-return]
