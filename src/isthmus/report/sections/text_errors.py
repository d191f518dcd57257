"""How the errors of texts depend on their length."""

from __future__ import annotations

import numpy as np

from isthmus.report.blocks import Block, Note, Section, short
from isthmus.report.lengths import by_length
from isthmus.report.subject import Subject

__all__ = ["text_errors"]


def text_errors(subject: Subject) -> Section | None:
    """Pieces right of rebuilt texts; error rate and log-probability of written ones; by the reference's length."""
    if subject.layout != "texts" or subject.texts.references is None:
        return None
    texts = subject.texts
    lengths, counts = texts.pieces, texts.pieces > 0
    if not counts.any():
        return None
    whole = 100 * float((texts.distances == 0).mean())
    said = (
        f"{short(100 * texts.distances.sum() / lengths.sum(), 3)} % of the pieces are in error: substitutions, "
        f"deletions and insertions, the fewest that do, over the references' {lengths.sum():,} pieces. "
        f"{short(whole, 3)} % of the {len(lengths):,} texts are right from end to end."
    )
    unit = "length of the reference, pieces" if subject.writes else "length, pieces"
    caption = f"{counts.sum():,} texts, a dot each, or a larger one for several."
    blocks: list[Block] = [Note(said)]
    if subject.writes:
        rates = 100 * texts.rates[counts]
        blocks.append(by_length("error_rate", lengths[counts], rates, unit, "piece error rate, %", caption))
        nats = np.asarray(subject.line.score_samples(subject.rows, subject.references)) / (lengths + 1)
        told = f"log p(reference | source), its end counted as a piece. {caption} 0 is certain."
        blocks.append(by_length("log_probability", lengths[counts], nats[counts], unit, "log p, nats a piece", told))
    else:
        share = 100 * (texts.right / np.maximum(lengths, 1))[counts]
        blocks.append(by_length("pieces_right", lengths[counts], share, unit, "pieces right, %", caption))
    return Section("errors", "Errors by length", blocks)
