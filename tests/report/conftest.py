"""Small trained models and their reports, made once for all tests here."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_wine

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    MLPEncoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)

NASTY = '<script>alert("x")</script> & $a_1'


def digits() -> tuple[np.ndarray, np.ndarray]:
    rows, labels = load_digits(return_X_y=True)
    return rows[:120] / 16, labels[:120]


def wine() -> tuple[pd.DataFrame, pd.Series]:
    rows, labels = load_wine(as_frame=True, return_X_y=True)
    return rows.rename(columns={"alcohol": NASTY}), labels


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


@pytest.fixture(scope="session")
def trained():
    """Name to (fitted model, rows, labels)."""
    made = {name: (make().fit(digits()[0]), *digits()) for name, make in DIGITS.items()}
    return made | {name: (make().fit(wine()[0]), *wine()) for name, make in WINE.items()}


@pytest.fixture(scope="session")
def pages(trained, tmp_path_factory):
    """Name to the text of its report."""
    folder = tmp_path_factory.mktemp("reports")
    return {
        name: model.report(rows, folder / f"{name}.html", labels).read_text(encoding="utf-8")
        for name, (model, rows, labels) in trained.items()
    }
