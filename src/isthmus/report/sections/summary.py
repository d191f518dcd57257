"""What the model is, and its figures with their units."""

from __future__ import annotations

import numpy as np

from isthmus.part import Part
from isthmus.report.blocks import Note, Section, Table, short
from isthmus.report.subject import Subject, every

__all__ = ["summary"]

LIKELIHOOD_ROWS, LIKELIHOOD_SAMPLES = 500, 100


def summary(subject: Subject) -> Section:
    """The line, part by part, and the table of figures."""
    module = subject.module
    named = {name: getattr(module, name) for name in ("scaler", "corruption", "encoder", "bottleneck", "decoder")}
    parts = [(name, part) for name, part in [*named.items(), ("loss", module.loss)] if part is not None]
    penalties = list(subject.penalties.items())
    line = " ─ ".join(["x", *(type(part).__name__ for _, part in parts)])
    terms = "".join(f" + {penalty.weight:g} · {name}" for name, penalty in penalties)
    rows = [_part_row(name, part) for name, part in parts]
    rows += [("penalty", type(part).__name__, part.formula, _arguments(part), "", "") for _, part in penalties]
    head = ("kind", "part", "formula", "set to", "gives", "weights")
    return Section(
        "summary",
        "The model and its figures",
        [
            *_member(subject),
            Note(f"{line}. Objective, averaged over rows: loss{terms}."),
            Table(("figure", "value", "unit"), [list(row) for row in _figures(subject)]),
            Table(head, rows, "The straight line, part by part; an axis of free length is shown as ·."),
        ],
    )


def _member(subject: Subject) -> list[Note]:
    n, width = len(subject.members), subject.flat_codes.shape[1]
    said = f"A detector whose score is the mean over {n} models; what follows shows the one with a code of {width}."
    return [Note(said)] if n > 1 else []


def _arguments(part: Part) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in part.get_params(deep=False).items()) or "–"


def _part_row(name: str, part: Part) -> tuple[str, ...]:
    shape = "" if part.out is None or name == "loss" else " × ".join(str(side or "·") for side in part.out.shape)
    count = sum(weight.numel() for weight in part.parameters())
    return (name, type(part).__name__, part.formula, _arguments(part), shape, f"{count:,}" if count else "0")


def _figures(subject: Subject) -> list[tuple[str, str, str]]:
    n, size = len(subject), int(np.prod(subject.rows.shape[1:]))
    values = subject.truth.reshape(n, -1)
    spread = np.square(values - values.mean(0)).sum()
    width = subject.flat_codes.shape[1]
    count = sum(weight.numel() for weight in subject.module.parameters())
    figures = [
        ("rows shown", f"{n:,}", "rows of " + " × ".join(map(str, subject.rows.shape[1:])) + " numbers"),
        ("code", f"{width:,}", f"numbers a row, for {size:,}"),
        ("weights", f"{count:,}", "trained numbers"),
        ("squared error", short(subject.errors.mean()), "summed over a row, (units of X)², mean over rows"),
    ]
    if subject.rows.dtype.kind != "O" and width < min(n, size):
        figures.append(
            ("the same by PCA", short(_pca_error(subject, width)), f"{width} components fitted to these very rows")
        )
    figures.append(
        ("error of one number", short(np.sqrt(subject.errors.mean() / size)), "root mean square, units of X")
    )
    if spread > 0:
        figures.append(("variance explained", f"{100 * (1 - subject.errors.sum() / spread):.1f}", "% (100 is perfect)"))
    return figures + _likelihood(subject) + _best(subject)


def _pca_error(subject: Subject, width: int) -> float:
    from sklearn.decomposition import PCA

    inputs = subject.rows.reshape(len(subject), -1).astype(np.float64)
    model = PCA(width, random_state=0).fit(inputs)
    rebuilt = model.inverse_transform(model.transform(inputs))
    return float(np.square(rebuilt - subject.truth.reshape(len(subject), -1)).sum(1).mean())


def _likelihood(subject: Subject) -> list[tuple[str, str, str]]:
    line, module = subject.line, subject.module
    if not (module.loss.is_likelihood and hasattr(module.bottleneck, "posterior") and subject.clean is None):
        return []
    index = every(len(subject), LIKELIHOOD_ROWS)
    shown = subject.like(subject.rows[index], line)
    nats = np.mean(line.log_likelihood(shown, n_samples=LIKELIHOOD_SAMPLES))
    return [
        ("ELBO", short(np.mean(line.elbo(shown))), f"nats a row, mean over {len(index):,} rows"),
        ("log-likelihood", short(nats), f"nats a row, {LIKELIHOOD_SAMPLES} importance samples, {len(index):,} rows"),
    ]


def _best(subject: Subject) -> list[tuple[str, str, str]]:
    history = subject.line.history_
    if not history:
        return []
    best = subject.best_epoch
    names = [name for name in ("objective", "val_objective") if name in history[best - 1]]
    unit = "nats" if subject.module.loss.is_likelihood else "scaled units"
    said = {"objective": "objective in training", "val_objective": "objective in validation"}
    kept = [(said[name], short(history[best - 1][name]), f"{unit}, mean over rows, epoch {best}") for name in names]
    seconds = sum(row.get("seconds", 0.0) for row in history)
    return [*kept, ("training", f"{seconds:.1f}", f"seconds, {len(history)} epochs; epoch {best} was kept")]
