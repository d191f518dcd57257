"""Small trained models and their reports, made once for all tests here."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_wine

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    ContractiveAutoencoder,
    ConvEncoder,
    DenoisingAutoencoder,
    MLPEncoder,
    Segmenter,
    SparseAutoencoder,
    UNetEncoder,
    VariationalAutoencoder,
)
from isthmus.report import Chapter, Section, Subject, build_sections, write_page

NASTY = '<script>alert("x")</script> & $a_1'


def digits() -> tuple[np.ndarray, np.ndarray]:
    rows, labels = load_digits(return_X_y=True)
    return rows[:120] / 16, labels[:120]


def wine() -> tuple[pd.DataFrame, pd.Series]:
    rows, labels = load_wine(as_frame=True, return_X_y=True)
    return rows.rename(columns={"alcohol": NASTY}), labels


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Noisy bytes of 14 × 16 and their masks, 255 inside an ellipse."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[:14, :16]
    centres = rng.uniform(4, 10, (24, 2, 1, 1))
    inside = np.hypot((down - centres[:, 0]) / 3, (across - centres[:, 1]) / 4) < 1
    return np.clip(rng.normal(60 + 120 * inside, 20), 0, 255).astype(np.uint8), np.where(inside, 255, 0)


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Noisy digits and clean ones, ``(60, 8, 8)``."""
    clean = digits()[0][:60].reshape(-1, 8, 8)
    return clean + np.random.default_rng(0).normal(0, 0.2, clean.shape), clean


def small(kind: type, **given: object):
    return kind(max_epochs=3, random_state=0, encoder=MLPEncoder((16,)), **given)


DIGITS = {
    "vanilla": lambda: small(Autoencoder, latent_dim=3),
    "denoising": lambda: small(DenoisingAutoencoder, latent_dim=3),
    "sparse_kl": lambda: small(SparseAutoencoder, latent_dim=9, rho=0.1),
    "sparse_l1": lambda: small(SparseAutoencoder, latent_dim=9, sparsity="l1"),
    "contractive": lambda: small(ContractiveAutoencoder, latent_dim=3),
    "variational": lambda: small(VariationalAutoencoder, latent_dim=2),
}
WINE = {
    "table": lambda: small(Autoencoder, latent_dim=2),
    "table_variational": lambda: small(VariationalAutoencoder, latent_dim=3),
    "anomalies": lambda: AnomalyDetector(small(Autoencoder, latent_dim=2), contamination=0.05),
}
UNET = {"channels": (4, 8), "blocks": 1}


def pictures() -> dict[str, tuple]:
    conv = {"encoder": ConvEncoder((4, 8)), "max_epochs": 2, "random_state": 0}
    unet = {"encoder": UNetEncoder(**UNET, global_residual=True), "max_epochs": 2, "random_state": 0}
    rows, labels = digits()[0].reshape(-1, 8, 8), digits()[1]
    return {
        "conv": (Autoencoder(latent_dim=3, **conv).fit(rows), rows, labels),
        "conv_variational": (VariationalAutoencoder(latent_dim=3, **conv).fit(rows), rows, labels),
        "unet": (DenoisingAutoencoder(patch_size=8, **unet).fit(*pairs()), *pairs()),
        "masks": (Segmenter(max_epochs=4, random_state=0, encoder=UNetEncoder(**UNET)).fit(*blobs()), *blobs()),
    }


@pytest.fixture(scope="session")
def trained():
    """Name to (fitted model, rows, labels)."""
    made = {name: (make().fit(digits()[0]), *digits()) for name, make in DIGITS.items()}
    return made | {name: (make().fit(wine()[0]), *wine()) for name, make in WINE.items()} | pictures()


PAGES = ("vanilla", "sparse_kl", "variational", "table", "anomalies", "unet", "masks")
"""Models whose sections are rendered too; together they have every kind of block."""


class Made(NamedTuple):
    """The sections of a report, and the state of model and process before it and after it."""

    sections: list[Section]
    before: dict[str, Any]
    after: dict[str, Any]


def state(model: Any) -> dict[str, Any]:
    module = getattr(model, "module_", None) or model.members_[0].module_
    return {
        "weights": {key: value.tolist() for key, value in module.state_dict().items()},
        "gradients": [parameter.grad for parameter in module.parameters()],
        "hooks": sum(len(layer._forward_hooks) for layer in module.modules()),
        "attributes": sorted(vars(model)),
        "draws": (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()),
        "settings": dict(mpl.rcParams),
    }


@pytest.fixture(scope="session")
def made(trained):
    """Name to what a report is made of, and what it left behind."""
    found = {}
    for name, (model, rows, labels) in trained.items():
        before = state(model)
        sections = build_sections(Subject(model, rows, labels))
        found[name] = Made(sections, before, state(model))
    return found


@pytest.fixture(scope="session")
def pages(trained, made, tmp_path_factory):
    """Name to the text of its report."""
    folder = tmp_path_factory.mktemp("reports")

    def page(name: str) -> str:
        kind = type(trained[name][0]).__name__
        chapter = Chapter("model", kind, made[name].sections)
        return write_page(folder / f"{name}.html", f"{kind}: what it learnt", [chapter]).read_text("utf-8")

    return {name: page(name) for name in PAGES}
