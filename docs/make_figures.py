"""Write the measured figures into README.md, between two markers, from benchmarks/results/*.json.

    python docs/make_figures.py            # rewrites the table
    python docs/make_figures.py --check    # only says, by its exit status, whether it is up to date

No figure in the documents is typed by hand. A benchmark without a result says so in its row.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- figures: begin.*?-->\n).*?(<!-- figures: end -->)", re.DOTALL)

Rows = list[tuple[str, str, str]]
"""What was measured, the figure, the mark it is held against."""


def mnist(result: dict[str, Any]) -> Rows:
    """Nats per image of the VAE in Burda's setting."""
    mark = f"{result['published_nats']:.2f} (Burda et al. 2016)"
    runs = [(result["training_minutes"], result["final"])]
    runs += [(run["minutes"], run) for key, run in result.items() if key.startswith("after_")]
    return [
        (
            f"MNIST, −log p(x), VAE 784-200-200-50, {minutes:.0f} min of training, "
            f"{run['importance_samples']:,} samples, {run['images']:,} images",
            f"{run['nll_nats']:.2f} ± {run['nll_standard_error']:.2f} nats",
            mark,
        )
        for minutes, run in sorted(runs, key=lambda pair: pair[0])
    ]


def anomalies(result: dict[str, Any]) -> Rows:
    """Mean AUROC over the tables, and its margin over each other method."""
    summary, rows = dict(result["summary"]), Rows()
    ours = summary.pop("isthmus")
    name = f"anomalies in {ours['tables']} tables, mean AUROC (average precision)"
    rows.append((name, f"{ours['auroc']:.3f} ({ours['average_precision']:.3f})", ""))
    for method, row in sorted(summary.items(), key=lambda item: -item[1]["auroc"]):
        margin = row.get("isthmus_minus_this")
        said = (
            "" if margin is None else "{:+.3f} (90 % {:+.3f} to {:+.3f})".format(margin["mean"], *margin["interval_90"])
        )
        figure = f"{row['auroc']:.3f} ({row['average_precision']:.3f})"
        rows.append((f"… `{method}`", figure, f"ours minus it: {said}" if said else ""))
    return rows


BENCHMARKS: dict[str, Callable[[dict[str, Any]], Rows]] = {"mnist": mnist, "anomalies": anomalies}


def block() -> str:
    """The table of all benchmarks."""
    lines = ["| measured | figure | beside it |", "| --- | --- | --- |"]
    for name, rows_of in BENCHMARKS.items():
        path = RESULTS / f"{name}.json"
        rows = rows_of(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
        rows = rows or [(f"`{name}`", "not measured yet", f"`python benchmarks/{name}.py`")]
        lines += [f"| {what} | {figure} | {beside} |" for what, figure, beside in rows]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its block written anew."""
    written, count = BLOCK.subn(lambda match: match[1] + block() + match[2], text)
    if count != 1:
        raise SystemExit(f"{PAGE.name} must hold the markers of the figures once, found {count}")
    return written


def main(arguments: list[str]) -> int:
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in arguments:
        return int(page(text) != text)
    PAGE.write_text(page(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
