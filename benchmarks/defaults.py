"""How the defaults were chosen: reconstruction error on held-out rows of eleven tables, beside PCA's.

Each table is cut to 2,500 rows, four fifths to train and one fifth to judge. The figure of a setting
is the geometric mean over tables of (its squared error / PCA's with as many components), in scaled
units, with the seconds of processor time of all fits. None of these tables judges the library elsewhere
by reconstruction.

    python benchmarks/defaults.py
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from isthmus import Autoencoder, MLPEncoder

TABLES = [
    "31_satimage-2",
    "6_cardio",
    "28_pendigits",
    "20_letter",
    "41_Waveform",
    "40_vowels",
    "2_annthyroid",
    "4_breastw",
    "45_wine",
]


def silu(*hidden_dims: int, **more: Any) -> MLPEncoder:
    return MLPEncoder(hidden_dims, activation="silu", **more)


SETTINGS: dict[str, dict[str, Any]] = {
    "relu, 1e-3": {"encoder": "mlp", "learning_rate": 1e-3, "schedule": None},
    "relu, 3e-3": {"encoder": "mlp", "learning_rate": 3e-3, "schedule": None},
    "relu, 3e-3, cosine": {"encoder": "mlp", "learning_rate": 3e-3, "schedule": "cosine"},
    "silu, 3e-3, cosine (default)": {"encoder": silu(256, 128), "learning_rate": 3e-3, "schedule": "cosine"},
    "gelu, 1e-3": {"encoder": MLPEncoder((256, 128), activation="gelu"), "learning_rate": 1e-3, "schedule": None},
    "silu, 1e-3, cosine": {"encoder": silu(256, 128), "learning_rate": 1e-3, "schedule": "cosine"},
    "silu 512-256, 1e-3, cosine": {"encoder": silu(512, 256), "learning_rate": 1e-3, "schedule": "cosine"},
    "silu residual 256-256, 1e-3, cosine": {
        "encoder": silu(256, 256, residual=True),
        "learning_rate": 1e-3,
        "schedule": "cosine",
    },
    "silu, 1e-3, cosine, batch 32": {
        "encoder": silu(256, 128),
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "batch_size": 32,
    },
    "silu 256, 1e-3, cosine": {"encoder": silu(256), "learning_rate": 1e-3, "schedule": "cosine"},
}


def tables() -> Iterator[tuple[str, np.ndarray]]:
    folder = Path(os.environ["ISTHMUS_DATA"])
    yield "digits", load_digits().data
    for name in TABLES:
        yield name, np.load(folder / "adbench" / f"{name}.npz")["X"].astype(np.float64)
    yield "mnist", np.load(folder / "mnist.npz")["x_train"][:2500].reshape(2500, -1) / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/defaults.json"))
    options = parser.parse_args()
    ratios: dict[str, list[float]] = {name: [] for name in SETTINGS}
    seconds = dict.fromkeys(SETTINGS, 0.0)
    for name, rows in tables():
        rows = rows[np.random.default_rng(0).permutation(len(rows))[:2500]]
        train, test = np.split(rows, [len(rows) * 4 // 5])
        scaler = Autoencoder(max_epochs=1).fit(train).module_.scaler
        scaled_train, scaled_test = (scaler(torch.from_numpy(part))[0].numpy() for part in (train, test))
        width = min(32, max(2, -(-rows.shape[1] // 4)))
        pca = PCA(width).fit(scaled_train)
        error = np.square(pca.inverse_transform(pca.transform(scaled_test)) - scaled_test).sum(1).mean()
        for setting, parameters in SETTINGS.items():
            started = time.process_time()
            model = Autoencoder(latent_dim=width, random_state=0, **parameters).fit(train)
            seconds[setting] += time.process_time() - started
            ratios[setting].append(-model.score(test) / error)
            print(f"{name:16s} {setting:36s} {ratios[setting][-1]:.3f}", flush=True)
    result = {
        setting: {"error_over_pca": float(np.exp(np.mean(np.log(values)))), "processor_seconds": seconds[setting]}
        for setting, values in ratios.items()
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
