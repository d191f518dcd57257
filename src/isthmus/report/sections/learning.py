"""Each term of the objective, epoch by epoch."""

from __future__ import annotations

from isthmus.report.blocks import Note, Picture, Section
from isthmus.report.plots import INK, TRAIN, VALIDATION, axes, plain_log
from isthmus.report.subject import Subject

__all__ = ["learning"]

BOOKKEEPING = ("epoch", "learning_rate", "seconds")
NATS = ("kl_prior", "kl_sparsity")
MEASURE = {
    "contractive": "‖∂z/∂x‖² per row",
    "l1_activity": "Σ |z| per row",
    "l1_weights": "Σ |w|",
    "l2_weights": "Σ w²",
}


def learning(subject: Subject) -> Section | None:
    """Learning curves of the objective, the loss and every penalty; the rate where it moves."""
    history = subject.line.history_
    if len(history) < 2:
        return None
    names = [name for name in history[0] if name not in BOOKKEEPING and not name.startswith("val_")]
    names.sort(key=lambda name: ["objective", "loss"].index(name) if name in ("objective", "loss") else 2)
    weights = {name: penalty.weight for name, penalty in subject.penalties.items()}
    pictures = [_curve(subject, name, weights.get(name)) for name in names]
    pictures += [_decoded(subject, name) for name in history[0] if _of_validation_alone(name, history[0])]
    rates = {row["learning_rate"] for row in history}
    if len(rates) > 1:
        pictures.append(_curve(subject, "learning_rate", None))
    best, held = subject.best_epoch, f"val_{names[0]}" in history[-1]
    said = (
        f"The dotted line is epoch {best}, whose weights were kept."
        if held
        else "No rows were held out at the end; the last epoch's weights were kept."
    )
    return Section(
        "learning", "Learning curves", [Note(f"Means over rows, penalties before their weight. {said}"), *pictures]
    )


def _curve(subject: Subject, name: str, weight: float | None) -> Picture:
    history = subject.line.history_
    epochs = [row["epoch"] for row in history]
    said = name.replace("_", " ")
    figure, panel = axes(
        xlabel="epoch", ylabel=_unit(subject, name), title=said if weight is None else f"{said}  (× {weight:g})"
    )
    panel.xaxis.get_major_locator().set_params(integer=True)
    values = [row[name] for row in history]
    panel.plot(epochs, values, color=TRAIN, label="training")
    checked = {row["epoch"]: row[f"val_{name}"] for row in history if f"val_{name}" in row}
    if checked:
        panel.plot(list(checked), list(checked.values()), color=VALIDATION, linestyle=(0, (5, 1.5)), label="validation")
        panel.axvline(subject.best_epoch, color=INK, linestyle=":", linewidth=1.2, label="best epoch")
        values = [*values, *checked.values()]
    if min(values) > 0 and max(values) > 10 * min(values):
        plain_log(panel)
    if name != "learning_rate":
        panel.legend()
    alt = f"{said} against epochs, from {values[0]:.4g} to {history[-1][name]:.4g} in training"
    caption = (
        "As the schedule set it."
        if name == "learning_rate"
        else f"{said}: training{' and validation' if checked else ''}."
    )
    return Picture(f"curve_{name}", figure, alt, caption)


def _of_validation_alone(name: str, row: dict[str, float]) -> bool:
    return name.startswith("val_") and name.removeprefix("val_") not in row


def _decoded(subject: Subject, name: str) -> Picture:
    """A figure of the held-out rows that is no term of the objective."""
    rows = [row for row in subject.line.history_ if name in row]
    said = name.removeprefix("val_").replace("_", " ")
    figure, panel = axes(xlabel="epoch", ylabel=said, title=said)
    values = [row[name] for row in rows]
    panel.plot([row["epoch"] for row in rows], values, color=VALIDATION, linestyle=(0, (5, 1.5)), label="validation")
    panel.axvline(subject.best_epoch, color=INK, linestyle=":", linewidth=1.2, label="best epoch")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend()
    alt = f"{said} of validation against epochs, from {values[0]:.4g} to {values[-1]:.4g}"
    return Picture(f"curve_{name}", figure, alt, f"{said}: validation.")


def _unit(subject: Subject, name: str) -> str:
    if name == "learning_rate":
        return "learning rate"
    if subject.layout == "texts" and name in ("loss", "objective"):
        each = "piece" if getattr(subject.module.loss, "per", "sample") == "position" else "text"
        return f"nats a {each}"
    if not subject.rebuilds and name in ("loss", "objective"):
        return f"{name}, mean over pictures"
    likelihood = subject.module.loss.is_likelihood
    if name in NATS or (likelihood and name in ("loss", "objective")):
        return "nats per row" if name != "kl_sparsity" else "nats"
    if name == "loss":
        squared = subject.module.loss.part_name() == "squared_error"
        return "(scaled units)² per row" if squared else "scaled units per row"
    return "per row, scaled units" if name == "objective" else MEASURE.get(name, "value")
