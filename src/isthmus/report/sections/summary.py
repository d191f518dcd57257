"""What the model is, and its figures with their units."""

from __future__ import annotations

import numpy as np

from isthmus.part import Part
from isthmus.report.blocks import Note, Section, Table, short
from isthmus.report.rows import every, taken
from isthmus.report.subject import Subject

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
    n = len(subject.members)
    if n == 1:
        return []
    width = subject.flat_codes.shape[1]
    return [
        Note(f"A detector whose score is the mean over {n} models; what follows shows the one with a code of {width}.")
    ]


def _arguments(part: Part) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in part.get_params(deep=False).items()) or "–"


def _part_row(name: str, part: Part) -> tuple[str, ...]:
    shape = "" if part.out is None or name == "loss" else " × ".join(str(side or "·") for side in part.out.shape)
    count = sum(weight.numel() for weight in part.parameters())
    return (name, type(part).__name__, part.formula, _arguments(part), shape, f"{count:,}" if count else "0")


def _figures(subject: Subject) -> list[tuple[str, str, str]]:
    count = sum(weight.numel() for weight in subject.module.parameters())
    figures = [("rows shown", f"{len(subject):,}", _sizes(subject)), ("weights", f"{count:,}", "trained numbers")]
    if subject.forecasts:
        asked = f"{subject.line.window_} steps read, {subject.line.horizon_} forecast"
        figures.append(("window, horizon", f"{subject.line.window_}, {subject.line.horizon_}", asked))
    if subject.layout == "texts":
        figures += _texts(subject)
    elif subject.rebuilds:
        figures += _rebuilt(subject)
    return figures + _likelihood(subject) + _best(subject)


def _sizes(subject: Subject) -> str:
    """What a row is, and of how many rows these are some."""
    if subject.layout != "rows":
        kind, unit = ("texts", "pieces") if subject.layout == "texts" else ("series", "steps")
        first, last = subject.lengths.min(), subject.lengths.max()
        said = f"{kind} of {first} {unit}" if first == last else f"{kind} of {first} to {last} {unit}"
        return said if subject.total == len(subject) else f"{said}, evenly spaced over the {subject.total:,} given"
    shapes = sorted({np.shape(row) for row in subject.rows}, key=np.prod)
    first, last = (" × ".join(map(str, shape)) for shape in (shapes[0], shapes[-1]))
    said = f"rows of {first} numbers" if first == last else f"pictures from {first} to {last}"
    return said if subject.total == len(subject) else f"{said}, evenly spaced over the {subject.total:,} given"


def _texts(subject: Subject) -> list[tuple[str, str, str]]:
    """What a text is squeezed into, and how much of it comes back."""
    texts, figures = subject.texts, []
    if subject.has_code:
        figures.append(
            ("code", f"{subject.flat_codes.shape[1]:,}", f"numbers a text, for {subject.lengths.mean():.1f} pieces")
        )
    if texts.references is None or not (total := texts.pieces.sum()):
        return figures
    whole = f"% of {len(texts.found):,} texts"
    figures.append(
        (
            "piece error rate",
            short(100 * texts.distances.sum() / total, 3),
            "% of the references' pieces (0 is perfect)",
        )
    )
    figures.append(("right from end to end", short(100 * (texts.distances == 0).mean(), 3), whole))
    if subject.writes:
        nats = np.sum(subject.line.score_samples(subject.rows, subject.references))
        figures.append(
            ("log p(reference | source)", short(nats / (total + len(texts.found))), "nats a piece, ends counted")
        )
    return figures


def _rebuilt(subject: Subject) -> list[tuple[str, str, str]]:
    n, size = len(subject), float(np.mean([row.size for row in subject.truth]))
    error = short(subject.errors.mean())
    figures = [("squared error", error, f"summed over a row, ({subject.unit})², mean over rows")]
    if subject.has_code:
        width = subject.flat_codes.shape[1]
        of = "series" if subject.layout == "series" else "row"
        figures.insert(0, ("code", f"{width:,}", f"numbers a {of}, for {size:,.0f}"))
        varies = not subject.ragged and (subject.rows != subject.rows[0]).any()
        if varies and subject.rows.dtype.kind != "O" and width < min(n, size):
            by_pca = short(_pca_error(subject, width))
            figures.append(("the same by PCA", by_pca, f"{width} components fitted to these very rows"))
    one = short(np.sqrt(subject.errors.mean() / size))
    figures.append(("error of one number", one, f"root mean square, {subject.unit}"))
    truth = subject.steps if subject.layout == "series" else subject.truth
    if (not subject.ragged or subject.layout == "series") and (spread := np.square(truth - truth.mean(0)).sum()) > 0:
        figures.append(("variance explained", f"{100 * (1 - subject.errors.sum() / spread):.1f}", "% (100 is perfect)"))
    return figures


def _pca_error(subject: Subject, width: int) -> float:
    from sklearn.decomposition import PCA

    inputs = subject.rows.reshape(len(subject), -1).astype(np.float64)
    model = PCA(width, random_state=0).fit(inputs)
    rebuilt = model.inverse_transform(model.transform(inputs))
    return float(np.square(rebuilt - subject.truth.reshape(len(subject), -1)).sum(1).mean())


def _likelihood(subject: Subject) -> list[tuple[str, str, str]]:
    line, module = subject.line, subject.module
    if not (
        module.loss.is_likelihood
        and hasattr(module.bottleneck, "posterior")
        and subject.clean is None
        and subject.has_code
    ):
        return []
    index = every(len(subject), LIKELIHOOD_ROWS)
    shown = subject.like(taken(subject.rows, index), line)
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
    nats = subject.module.loss.is_likelihood or subject.layout == "texts"
    unit = "nats" if nats else "scaled units" if subject.rebuilds else "loss"
    said = {"objective": "objective in training", "val_objective": "objective in validation"}
    kept = [(said[name], short(history[best - 1][name]), f"{unit}, mean over rows, epoch {best}") for name in names]
    seconds = sum(row.get("seconds", 0.0) for row in history)
    return [*kept, ("training", f"{seconds:.1f}", f"seconds, {len(history)} epochs; epoch {best} was kept")]
