"""Two parts of ``series.py`` on series that aeon brings: what a classifier reads from a code, and an anomaly.

Codes: JapaneseVowels, 270 training and 370 test utterances of 7 to 29 steps and 12 numbers, by nine speakers. An
RNN autoencoder learns from the training utterances without their labels; a nearest neighbour and a logistic
regression are fitted to the training codes. Beside them the same on the mean and the deviation of each of the 12
numbers, and the nearest neighbour by dynamic time warping (aeon's, no window).

Anomaly: number 135 of the UCR anomaly archive, one labelled stretch; ``AnomalyDetector(window=64)`` as it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isthmus import AnomalyDetector, Autoencoder, RNNEncoder

__all__ = ["anomaly", "codes"]

WIDTH, NEAR = 64, 100
"""Of a detector's window; how far from the label the UCR archive counts as found."""


def vowels() -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """Series ``(T, 12)`` and speakers, to train and to test."""
    from aeon.datasets import load_japanese_vowels  # type: ignore[import-not-found]

    sides = [load_japanese_vowels(split) for split in ("train", "test")]
    (train, y), (test, truth) = (([np.asarray(one, np.float32).T for one in x], np.asarray(y)) for x, y in sides)
    return train, y, test, truth


def accuracies(train: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of both classifiers, on standardised numbers."""
    methods = {
        "nearest": KNeighborsClassifier(1),
        "logistic": GridSearchCV(LogisticRegression(max_iter=2000), {"C": np.logspace(-3, 3, 7)}),
    }
    return {
        name: float(make_pipeline(StandardScaler(), method).fit(train, y).score(test, truth))
        for name, method in methods.items()
    }


def summary(series: list[np.ndarray]) -> np.ndarray:
    """Mean and deviation of each number, ``(n, 24)``."""
    return np.array([np.concatenate([one.mean(0), one.std(0)]) for one in series])


def warped(train: list[np.ndarray], y: np.ndarray, test: list[np.ndarray], truth: np.ndarray) -> float:
    """Accuracy of the nearest neighbour by dynamic time warping."""
    from aeon.distances import dtw_distance  # type: ignore[import-not-found]

    def nearest(one: np.ndarray) -> int:
        return int(np.argmin([dtw_distance(one.T.astype(float), other.T.astype(float)) for other in train]))

    return float(np.mean([y[nearest(one)] == label for one, label in zip(test, truth, strict=True)]))


def codes(seeds: int, console: Console) -> dict[str, Any]:
    """Accuracies of each way to describe an utterance; of the autoencoder for each seed."""
    train, y, test, truth = vowels()
    found: dict[str, Any] = {"mean and deviation": accuracies(summary(train), y, summary(test), truth)}
    found["dynamic time warping"] = {"nearest": warped(train, y, test, truth)}
    runs = []
    for seed in range(seeds):
        model = Autoencoder(
            latent_dim=32, encoder=RNNEncoder(64), batch_size=32, validation_fraction=0, random_state=seed
        ).fit(train)
        runs.append(accuracies(model.transform(train), y, model.transform(test), truth))
    found["RNN autoencoder's code"] = {
        **{name: float(np.mean([run[name] for run in runs])) for name in runs[0]},
        "by_seed": runs,
    }
    table = Table(title=f"JapaneseVowels: accuracy on {len(test)} test utterances")
    for column, head in enumerate(("described by", "nearest neighbour", "logistic regression")):
        table.add_column(head, justify="right" if column else "left")
    for name, row in found.items():
        table.add_row(name, *(f"{row[kind]:.1%}" if kind in row else "" for kind in ("nearest", "logistic")))
    console.print(table)
    return found


def anomaly(seeds: int, console: Console) -> dict[str, Any]:
    """Where the lowest score lies, for each seed."""
    from aeon.datasets import load_kdd_tsad_135  # type: ignore[import-not-found]

    (train, _), (series, labelled) = (load_kdd_tsad_135(split) for split in ("train", "test"))
    label = np.flatnonzero(np.ravel(labelled))[[0, -1]].tolist()
    tops = []
    for seed in range(seeds):
        detector = AnomalyDetector(window=WIDTH, random_state=seed).fit(np.ravel(train))
        tops.append(int(detector.score_samples(np.ravel(series)).argmin()))
    hits = [label[0] - NEAR <= top <= label[1] + NEAR for top in tops]
    console.print(
        f"anomaly at steps {label[0]} to {label[1]}: lowest score at {tops}, {sum(hits)} of {seeds} within {NEAR}"
    )
    return {"labelled": label, "lowest_at": tops, "within": NEAR, "hits": sum(hits)}
