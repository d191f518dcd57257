"""Write docs/export.md: which estimator with which encoder and bottleneck leaves as ONNX, found by exporting each.

    python docs/make_export.py

Every row is an export that was checked against the model in onnxruntime, or the refusal in its own words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    BackboneEncoder,
    ContractiveAutoencoder,
    ConvEncoder,
    DenoisingAutoencoder,
    PatchMasking,
    RNNDecoder,
    RNNEncoder,
    Segmenter,
    Seq2Seq,
    SparseAutoencoder,
    TransformerEncoder,
    UNetEncoder,
    VariationalAutoencoder,
    ViTEncoder,
)
from isthmus.errors import IsthmusError

PAGE = Path(__file__).with_name("export.md")
draw = np.random.default_rng(0)
TABLE = draw.normal(size=(60, 9)).astype(np.float32)
SIGNALS = draw.random((16, 24), dtype=np.float32)
IMAGES = draw.random((16, 20, 17), dtype=np.float32)
LARGE = draw.random((4, 70, 67), dtype=np.float32)
COLOUR = draw.integers(0, 256, (12, 3, 16, 16), dtype=np.uint8)
VOLUMES = draw.random((8, 1, 8, 9, 8), dtype=np.float32)
SERIES = draw.normal(size=(20, 5, 3)).astype(np.float32)
TEXTS = ["a rose is a rose", "is a rose", "a rose", "rose rose rose"] * 4
WAVE = np.sin(np.arange(200) / 5)
KNOWN = np.cos(np.arange(200) / 5)[:, np.newaxis]
EXPORTED = ("transform", "reconstruct")
LABELS, DETECTS, TEXT = ("predict", "predict_proba"), ("score_samples", "predict"), ("start", "step")


class Case(NamedTuple):
    """What is exported, and how it is fitted."""

    estimator: str
    encoder: str
    data: str
    make: Callable[..., Any]
    fit: tuple[Any, ...]
    methods: tuple[str, ...] = EXPORTED
    known: Any = None

    def fitted(self) -> Any:
        """The estimator, trained for a moment."""
        told = {} if self.known is None else {"exogenous": self.known}
        return self.make().fit(*self.fit, **told)


def small(cls: Any, **params: Any) -> Callable[[], Any]:
    """An estimator that is fitted in a moment."""
    return lambda: cls(**{"max_epochs": 1, "random_state": 0, **params})


def labelled(X: Any) -> tuple[Any, Any]:
    """Pictures with masks."""
    return X, np.where(X > 0.5, 255, 7)


UNET, CONV = UNetEncoder((4, 8)), ConvEncoder((4, 8))
VIT = ViTEncoder(patch_size=4, d_model=16, num_heads=2, num_layers=1)
TRANSFORMER = TransformerEncoder(d_model=16, num_heads=2, num_layers=1)
ROTARY = TransformerEncoder(d_model=16, num_heads=2, num_layers=1, positions="rotary", activation="swiglu")
STATES, FEEDING = RNNEncoder(16, pool=None), RNNDecoder(16, 2, "lstm", "dot", input_feeding=True)
CASES = [
    Case("Autoencoder", "mlp", "table", small(Autoencoder), (TABLE,)),
    Case("Autoencoder", "mlp, identity", "table", small(Autoencoder, bottleneck="identity"), (TABLE,)),
    Case("SparseAutoencoder", "mlp", "table", small(SparseAutoencoder, latent_dim=12), (TABLE,)),
    Case("ContractiveAutoencoder", "mlp", "table", small(ContractiveAutoencoder), (TABLE,)),
    Case("VariationalAutoencoder", "mlp, gaussian", "table", small(VariationalAutoencoder), (TABLE,)),
    Case("DenoisingAutoencoder", "mlp", "table", small(DenoisingAutoencoder), (TABLE,)),
    Case("Autoencoder", "conv", "signals", small(Autoencoder, encoder=ConvEncoder((4, 8), dims=1)), (SIGNALS,)),
    Case("Autoencoder", "conv", "images", small(Autoencoder, encoder=CONV), (IMAGES,)),
    Case("Autoencoder", "conv", "images of bytes", small(Autoencoder, encoder=CONV), (COLOUR,)),
    Case("Autoencoder", "conv", "volumes", small(Autoencoder, encoder=CONV), (VOLUMES,)),
    Case("VariationalAutoencoder", "conv, gaussian", "images", small(VariationalAutoencoder, encoder=CONV), (IMAGES,)),
    Case("DenoisingAutoencoder", "conv, a map", "images, patches",
         small(DenoisingAutoencoder, encoder=ConvEncoder((4, 8), pool=None), patch_size=12), (IMAGES,)),
    Case("DenoisingAutoencoder", "unet", "signals",
         small(DenoisingAutoencoder, encoder=UNetEncoder((4, 8), dims=1)), (SIGNALS,)),
    Case("DenoisingAutoencoder", "unet", "images", small(DenoisingAutoencoder, encoder="unet"), (IMAGES,)),
    Case("DenoisingAutoencoder", "unet", "volumes", small(DenoisingAutoencoder, encoder=UNET), (VOLUMES,)),
    Case("Autoencoder", "vit", "images", small(Autoencoder, encoder=VIT), (IMAGES,)),
    Case("DenoisingAutoencoder", "vit, masked (MAE)", "images",
         small(DenoisingAutoencoder, encoder=VIT, corruption=PatchMasking(0.5, 4)), (IMAGES,)),
    Case("Autoencoder", "rnn", "series", small(Autoencoder, encoder=RNNEncoder(16)), (SERIES,)),
    Case("Autoencoder", "rnn, LSTM, a code a position", "series",
         small(Autoencoder, encoder=RNNEncoder(16, 2, "lstm", pool=None)), (SERIES,)),
    Case("VariationalAutoencoder", "rnn, gaussian", "series",
         small(VariationalAutoencoder, encoder=RNNEncoder(16)), (SERIES,)),
    Case("Autoencoder", "transformer", "series", small(Autoencoder, encoder=TRANSFORMER), (SERIES,)),
    Case("Autoencoder", "transformer, rotary", "series", small(Autoencoder, encoder=ROTARY), (SERIES,)),
    Case("Segmenter", "unet", "signals", small(Segmenter, encoder=UNetEncoder((4, 8), dims=1)), labelled(SIGNALS),
         LABELS),
    Case("Segmenter", "unet", "images", small(Segmenter, encoder=UNET), labelled(IMAGES), LABELS),
    Case("Segmenter", "unet, several labels", "images", small(Segmenter, encoder=UNET, multilabel=True),
         (IMAGES, (np.stack([IMAGES, 1 - IMAGES], 1) > 0.4).astype(int)), LABELS),
    Case("Segmenter", "unet", "volumes", small(Segmenter, encoder=UNET), labelled(VOLUMES), LABELS),
    Case("Segmenter", "backbone", "images", small(Segmenter, encoder=BackboneEncoder("resnet18")), labelled(LARGE),
         LABELS),
    Case("AnomalyDetector", "mlp, gaussian", "table", lambda: AnomalyDetector(random_state=0), (TABLE,), DETECTS),
    Case("AnomalyDetector of a VariationalAutoencoder", "mlp, gaussian", "table",
         lambda: AnomalyDetector(small(VariationalAutoencoder)()), (TABLE,), DETECTS),
    Case("AnomalyDetector of an Autoencoder", "conv", "images",
         lambda: AnomalyDetector(small(Autoencoder, encoder=CONV)()), (IMAGES,), DETECTS),
    Case("AnomalyDetector, windows", "conv", "a series", lambda: AnomalyDetector(small(Autoencoder)(), window=20),
         (WAVE,), DETECTS),
    Case("VariationalAutoencoder", "rnn, gaussian", "texts", small(VariationalAutoencoder), (TEXTS,), TEXT),
    Case("Seq2Seq", "rnn, additive attention", "texts", small(Seq2Seq, encoder=STATES), (TEXTS, TEXTS), TEXT),
    Case("Seq2Seq", "rnn, LSTM, input feeding", "texts", small(Seq2Seq, encoder=STATES, decoder=FEEDING),
         (TEXTS, TEXTS), TEXT),
    Case("Seq2Seq", "transformer", "texts", small(Seq2Seq, encoder=TRANSFORMER), (TEXTS, TEXTS), TEXT),
    Case("Seq2Seq", "rnn", "pairs of series", small(Seq2Seq, encoder=STATES), (SERIES, SERIES[..., :2]), ("predict",)),
    Case("Seq2Seq", "transformer", "pairs of series", small(Seq2Seq, encoder=TRANSFORMER), (SERIES, SERIES[:, 1:]),
         ("predict",)),
    Case("Seq2Seq, forecasts", "mlp", "a series", small(Seq2Seq, window=20, horizon=5), (WAVE,), ("predict",)),
    Case("Seq2Seq, forecasts", "rnn", "a series and what is known ahead",
         small(Seq2Seq, window=20, horizon=3, encoder=RNNEncoder(16)), (WAVE,), ("predict",), KNOWN),
]  # fmt: skip


def outcome(case: Case, folder: Path) -> str:
    """What exporting each method gave, or why it was refused."""
    said, model = [], case.fitted()
    for method in case.methods:
        try:
            found = model.export(folder / "model.onnx", method=method, overwrite=True)
        except IsthmusError as error:
            return f"refused: {str(error).removeprefix('export: ')}"
        said.append(f"`{method}` ({freedom(case, found.free_axes)})")
    return ", ".join(said)


def freedom(case: Case, axes: dict[str, tuple[int, ...]]) -> str:
    """Which sizes are free, in words."""
    if case.methods == TEXT:
        return "rows, lengths"
    if len(axes["x"]) == 1:
        return "rows"
    return "rows, length" if "series" in case.data or "signals" in case.data else "rows, sizes"


HEAD = """# What leaves as ONNX

How a model is exported stands in [the engine's page](engine.md#out-of-training). This table was made by exporting each
to ONNX and running it in onnxruntime, where it must agree with the model within 1e-4 of the largest value
(`python docs/make_export.py`; `tests/export/` does so for every row and in both formats). In brackets: what may have
any size. Sizes of pictures are free for a U-Net, and where training saw patches or several sizes; then each must be
longer than the product of the network's strides. A decoder that writes step by step is written out, so its length
is fixed.

| estimator | encoder, bottleneck if not dense | data | exported |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            f"| {case.estimator} | {case.encoder} | {case.data} | {outcome(case, Path(folder))} |\n" for case in CASES
        ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
