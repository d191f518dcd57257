"""Validation by what is written: texts of held-out sources, beside their references, after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from isthmus import metrics
from isthmus.errors import ParameterError
from isthmus.training.callbacks import Callback

__all__ = ["DECODED", "MOST", "DecodedMetrics"]

Pieces = Callable[[list[str]], list[Any]]
"""Texts to the pieces of each."""
MOST = 1000
"""Held-out texts that are written after an epoch, evenly spaced."""


def bleu(references: list[str], found: list[str], pieces: Pieces) -> float:
    """sacreBLEU's, of plain text, 0 to 100 (Papineni et al. 2002; Post 2018)."""
    try:
        import sacrebleu
    except ImportError as error:
        raise ParameterError("validation_metrics: 'bleu' needs sacrebleu: pip install 'isthmus[text]'") from error
    return float(sacrebleu.corpus_bleu(found, [references]).score)


def error_rate(references: list[str], found: list[str], pieces: Pieces) -> float:
    """Edits a piece of the tokenizer; see `isthmus.metrics.error_rate`."""
    return metrics.error_rate(pieces(references), pieces(found))


def text_error(references: list[str], found: list[str], pieces: Pieces) -> float:
    """Share of texts that are not as their reference, in every character."""
    return sum(one != other for one, other in zip(references, found, strict=True)) / len(references)


DECODED: dict[str, Callable[[list[str], list[str], Pieces], float]] = {
    "error_rate": error_rate,
    "text_error": text_error,
    "bleu": bleu,
}


class DecodedMetrics(Callback):
    """Adds ``val_<name>`` to an epoch's figures.

    Parameters
    ----------
    write : callable
        The texts of the held-out sources, greedily.
    references : list of str
    pieces : callable
        A text's pieces.
    names : sequence of str
        Of `DECODED`.
    """

    def __init__(
        self,
        write: Callable[[], list[str]],
        references: list[str],
        pieces: Pieces,
        names: Sequence[str],
    ) -> None:
        self.write, self.references, self.pieces, self.names = write, references, pieces, names

    def on_epoch_end(self, loop: Any) -> None:
        was_training = loop.step.training
        found = self.write()
        loop.step.train(was_training)
        for name in self.names:
            loop.state.history[-1][f"val_{name}"] = DECODED[name](self.references, found, self.pieces)
