"""Outliers in the 20 tables of ADBench (Han et al. 2022), found without labels: one setting for all.

Every method is fitted to all rows of a table, outliers among them, and scores the same rows; labels
only judge. AUROC and average precision, five seeds, beside pyod's AutoEncoder, VAE and IForest with
their defaults and beside PCA's error (standardised columns, 90 % of the variance kept).

    python benchmarks/anomalies.py [--minutes M] [--seeds 5] [--methods isthmus pca ...] [--ablation]

It needs ISTHMUS_DATA (``adbench/*.npz``). ``benchmarks/results/anomalies.json`` is rewritten after each
table, and a later call goes on from there. A peer that does not import is skipped with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

Score = Callable[[np.ndarray, int], np.ndarray]
"""Rows and a seed to one number a row, higher for an outlier."""


def tables() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, rows and labels (1: outlier) of each table, the smallest first."""
    folder = Path(os.environ["ISTHMUS_DATA"]) / "adbench"
    for path in sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_size):
        with np.load(path) as data:
            yield path.stem.split("_", 1)[1], data["X"].astype(np.float64), data["y"].astype(int)


# ---------------------------------------------------------------------- the methods


def isthmus_default(X: np.ndarray, seed: int) -> np.ndarray:
    """`AnomalyDetector()` as it is."""
    from isthmus import AnomalyDetector

    return -AnomalyDetector(random_state=seed).fit(X).score_samples(X)


def variant(**changes: Any) -> Score:
    """The default estimator with other parameters, its rows scored alike."""

    def score(X: np.ndarray, seed: int) -> np.ndarray:
        from isthmus.estimators.anomaly import at_mean, default_estimator

        model = default_estimator(*X.shape).set_params(random_state=seed, **changes).fit(X)
        return -model._over_rows(model._read(X), partial(at_mean, model))

    return score


def linear(X: np.ndarray, seed: int) -> np.ndarray:
    """The default estimator without hidden layers."""
    from isthmus import MLPDecoder, MLPEncoder

    return variant(encoder=MLPEncoder(()), decoder=MLPDecoder(()))(X, seed)


def robust_columns(X: np.ndarray) -> np.ndarray:
    """`RobustScaler`'s columns, in NumPy."""
    low, median, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
    scale = np.where(high > low, (high - low) / 1.349, X.std(0))
    return np.arcsinh((X - median) / np.where(scale > 0, scale, 1))


def columns_alone(X: np.ndarray, seed: int) -> np.ndarray:
    """No model at all: the sum of squares of the scaled columns."""
    return np.square(robust_columns(X)).sum(1)


def closed_form(X: np.ndarray, seed: int) -> np.ndarray:
    """The linear estimator's optimum without a network: a Gaussian of the scaled columns with no variance
    below 1, refitted five times to the best four fifths of the rows."""
    Z, kept = robust_columns(X), np.ones(len(X), dtype=bool)
    for _ in range(5):
        variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(Z[kept].T)))
        energy = (np.square((Z - Z[kept].mean(0)) @ axes) / np.maximum(variances, 1)).sum(1)
        kept = energy <= np.quantile(energy, 0.8)
    return energy


def pca_error(X: np.ndarray, seed: int) -> np.ndarray:
    """Squared distance to the subspace that holds 90 % of the variance."""
    Z = StandardScaler().fit_transform(X)
    pca = PCA(svd_solver="full").fit(Z)
    kept = int((pca.explained_variance_ratio_.cumsum() < 0.9).sum())
    rest = pca.components_[min(max(1, kept), Z.shape[1] - 1) :]
    return np.square((Z - pca.mean_) @ rest.T).sum(1)


def pyod(module: str, name: str, **options: Any) -> Score:
    """A detector of pyod with its defaults."""

    def score(X: np.ndarray, seed: int) -> np.ndarray:
        import importlib

        detector = getattr(importlib.import_module(f"pyod.models.{module}"), name)(random_state=seed, **options)
        return detector.fit(X.astype(np.float32)).decision_scores_

    return score


METHODS: dict[str, Score] = {
    "isthmus": isthmus_default,
    "pyod_iforest": pyod("iforest", "IForest"),
    "pyod_autoencoder": pyod("auto_encoder", "AutoEncoder", verbose=0),
    "pyod_vae": pyod("vae", "VAE", verbose=0),
    "pca_error": pca_error,
}
ABLATION: dict[str, Score] = {
    "isthmus_untrained": variant(learning_rate=1e-12, max_epochs=1),
    "isthmus_untrimmed": variant(trim=0.0),
    "isthmus_linear": linear,
    "closed_form": closed_form,
    "columns_alone": columns_alone,
}
ONE_SEED = {"pca_error", "closed_form", "columns_alone"}


# ---------------------------------------------------------------------- the run


def judge(score: Score, X: np.ndarray, y: np.ndarray, seed: int) -> dict[str, float]:
    """One fit: its figures and its seconds, scoring included."""
    started = time.perf_counter()
    found = score(X, seed)
    seconds = time.perf_counter() - started
    auroc, precision = roc_auc_score(y, found), average_precision_score(y, found)
    return {"seed": seed, "auroc": float(auroc), "average_precision": float(precision), "seconds": round(seconds, 3)}


def run(result: dict[str, Any], methods: dict[str, Score], seeds: int, deadline: float, out: Path) -> bool:
    """Every fit that ``result`` lacks, until the deadline; whether all are there."""
    for name, X, y in tables():
        table = result["tables"].setdefault(
            name, {"rows": len(X), "columns": X.shape[1], "outliers": int(y.sum()), "methods": {}}
        )
        for method, score in methods.items():
            if method in result["skipped"]:
                continue
            fits = table["methods"].setdefault(method, [])
            for seed in range(len(fits), 1 if method in ONE_SEED else seeds):
                if time.perf_counter() > deadline:
                    write(result, out)
                    return False
                try:
                    fits.append(judge(score, X, y, seed))
                except ImportError as error:
                    result["skipped"][method] = str(error)
                    break
        write(result, out)
        means = {method: np.mean([fit["auroc"] for fit in fits]) for method, fits in table["methods"].items() if fits}
        print(f"{name:12s}", "  ".join(f"{method} {mean:.3f}" for method, mean in means.items()), flush=True)
    return True


def write(result: dict[str, Any], out: Path) -> None:
    """The figures so far, in one step, so that a stopped run leaves a whole file."""
    result["summary"] = summary(result)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_suffix(".tmp")
    beside.write_text(json.dumps(result, indent=1) + "\n")
    beside.replace(out)


def per_table(result: dict[str, Any], method: str, figure: str) -> dict[str, float]:
    """The mean over seeds of a figure on each table."""
    tables = {name: table["methods"].get(method, []) for name, table in result["tables"].items()}
    return {name: float(np.mean([fit[figure] for fit in fits])) for name, fits in tables.items() if fits}


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """Per method the mean over tables of the mean over seeds, and `isthmus` against each of the others."""
    methods = dict.fromkeys(method for table in result["tables"].values() for method in table["methods"])
    figures = ("auroc", "average_precision", "seconds")
    rows: dict[str, Any] = {}
    for method in methods:
        means = {figure: per_table(result, method, figure) for figure in figures}
        if means["auroc"]:
            rows[method] = {figure: round(float(np.mean(list(means[figure].values()))), 4) for figure in figures}
            rows[method]["tables"] = len(means["auroc"])
            if method != "isthmus" and (against := margin(result, method)):
                rows[method]["isthmus_minus_this"] = against
    return rows


def margin(result: dict[str, Any], method: str, draws: int = 10_000) -> dict[str, Any]:
    """`isthmus` minus a method in AUROC, with a 90 % bootstrap interval over tables (they are the sample)."""
    ours, theirs = per_table(result, "isthmus", "auroc"), per_table(result, method, "auroc")
    both = [name for name in ours if name in theirs]
    if not both:
        return {}
    difference = np.array([ours[name] - theirs[name] for name in both])
    means = difference[np.random.default_rng(0).integers(len(both), size=(draws, len(both)))].mean(1)
    low, high = np.quantile(means, [0.05, 0.95])
    wins = int((difference > 0).sum())
    return {
        "mean": round(float(difference.mean()), 4),
        "interval_90": [round(float(low), 4), round(float(high), 4)],
        "wins": wins,
    }


def show(result: dict[str, Any]) -> None:
    """The means, as a table."""
    print(f"{'method':24s} AUROC   AP      s/fit  tables")
    for method, row in sorted(result["summary"].items(), key=lambda item: -item[1]["auroc"]):
        figures = f"{row['auroc']:.4f}  {row['average_precision']:.4f} {row['seconds']:6.2f}  {row['tables']:3d}"
        print(f"{method:24s} {figures}  {row.get('isthmus_minus_this', '')}")
    for method, reason in result["skipped"].items():
        print(f"{method:24s} skipped: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="stop after so long; a later call goes on")
    parser.add_argument("--seeds", type=int, default=5)
    every = METHODS | ABLATION
    parser.add_argument("--methods", nargs="*", choices=list(every), default=list(METHODS))
    parser.add_argument("--ablation", action="store_true", help="the default without each of its pieces, too")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/anomalies.json"))
    options = parser.parse_args()
    if "ISTHMUS_DATA" not in os.environ:
        parser.error("ISTHMUS_DATA is not set: it names the folder that holds adbench/*.npz")
    result = json.loads(options.out.read_text()) if options.out.exists() else {"tables": {}}
    result["skipped"] = {}
    chosen = [*options.methods, *(ABLATION if options.ablation else [])]
    methods = {name: every[name] for name in dict.fromkeys(chosen)}
    done = run(result, methods, options.seeds, time.perf_counter() + 60 * options.minutes, options.out)
    show(result)
    if not done:
        print("stopped at --minutes; the same command goes on from here")


if __name__ == "__main__":
    main()
