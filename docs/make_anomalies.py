"""Write the measured tables into docs/anomalies.md, between two markers, from benchmarks/results/anomalies.json.

python docs/make_anomalies.py            # rewrites the tables
python docs/make_anomalies.py --check    # only says, by its exit status, whether they are up to date
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "anomalies.json"
PAGE = ROOT / "docs" / "anomalies.md"
BLOCK = re.compile(r"(<!-- figures: begin.*?-->\n).*?(<!-- figures: end -->)", re.DOTALL)


def means_table(result: dict[str, Any]) -> list[str]:
    """One line a method: its means over tables, and the margin of `isthmus` over it."""
    lines = [
        "| method | AUROC | average precision | s a fit | `isthmus` minus it, AUROC | 90 % interval | better on |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, row in sorted(result["summary"].items(), key=lambda item: -item[1]["auroc"]):
        against = row.get("isthmus_minus_this")
        cells = ["", "", ""]
        if against is not None:
            low, high = against["interval_90"]
            cells = [f"{against['mean']:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{against['wins']} of {row['tables']}"]
        figures = [f"{row['auroc']:.4f}", f"{row['average_precision']:.4f}", f"{row['seconds']:.1f}"]
        lines.append("| " + " | ".join([f"`{method}`", *figures, *cells]) + " |")
    return lines


def tables_table(result: dict[str, Any]) -> list[str]:
    """One line a table: the mean AUROC of each method over its seeds."""
    methods = [name for name, _ in sorted(result["summary"].items(), key=lambda item: -item[1]["auroc"])]
    heads = ["table", "rows", "columns", "outliers", *(f"`{name}`" for name in methods)]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for name, table in sorted(result["tables"].items(), key=lambda item: item[0].lower()):
        share = f"{100 * table['outliers'] / table['rows']:.1f} %"
        figures = [_mean(table["methods"].get(method, [])) for method in methods]
        lines.append("| " + " | ".join([name, str(table["rows"]), str(table["columns"]), share, *figures]) + " |")
    return lines


def _mean(fits: list[dict[str, float]]) -> str:
    return f"{np.mean([fit['auroc'] for fit in fits]):.3f}" if fits else "–"


def page(text: str) -> str:
    """The page with its block written anew."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    block = "\n".join([*means_table(result), "", "Mean AUROC, table by table:", "", *tables_table(result)]) + "\n"
    written, count = BLOCK.subn(lambda match: match[1] + block + match[2], text)
    if count != 1:
        raise SystemExit(f"{PAGE.name} must hold the markers of the figures once, found {count}")
    return written


def main() -> None:
    before = PAGE.read_text(encoding="utf-8")
    after = page(before)
    if "--check" in sys.argv:
        sys.exit(before != after)
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
