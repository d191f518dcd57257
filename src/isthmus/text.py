"""Text to classes and back: characters, words or byte-pair pieces, learnt from the training texts.

The package tokenizers does the work. An id is a class 0 … K − 1, of which 0 stands for what was not seen in
training; what begins, ends and hides a sequence is the model's own business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self, runtime_checkable

from isthmus.errors import DataError, ParameterError

__all__ = ["TOKENIZERS", "TextTokenizer", "Tokenizer", "texts_of"]

UNKNOWN = "<unk>"
TOKENIZERS = ("char", "word", "bpe")


@runtime_checkable
class Tokenizer(Protocol):
    """What a tokenizer of your own must have; `vocabulary_size` counts its ids, 0 … size − 1."""

    vocabulary_size: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        ...

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Plain text, spaces as they were."""
        ...


class TextTokenizer:
    """Characters, words or byte-pair pieces.

    Parameters
    ----------
    kind : {"char", "word", "bpe"}
        "word" splits at spaces and sets punctuation apart; "bpe" merges the pairs of pieces that occur most
        (Sennrich et al. 2016). Both mark where a space was, so that decoding gives it back.
    vocabulary_size : int, optional
        At most so many, the unknown among them; None: 8,000 for "bpe", all that were seen otherwise.
    lower : bool
        Texts in small letters.
    """

    def __init__(self, kind: str, vocabulary_size: int | None = None, lower: bool = False) -> None:
        if kind not in TOKENIZERS:
            raise ParameterError(f"tokenizer must be one of {list(TOKENIZERS)} or an object, got {kind!r}")
        self.kind, self.limit, self.lower = kind, vocabulary_size, lower
        self._made: Any = None

    @property
    def fitted(self) -> bool:
        """Whether it has a vocabulary."""
        return self._made is not None

    def fit(self, texts: Iterable[str]) -> Self:
        """Learn the vocabulary; the same texts give the same one."""
        made, trainer = self._make()
        made.train_from_iterator(texts, trainer)
        self._made = made
        return self

    def _make(self) -> tuple[Any, Any]:
        try:
            from tokenizers import Regex, Tokenizer as Made, decoders, models, normalizers, pre_tokenizers, trainers
        except ImportError as error:
            raise DataError("text needs the package tokenizers: pip install 'isthmus[text]'") from error
        pieces = self.kind == "bpe"
        made = Made(models.BPE(unk_token=UNKNOWN) if pieces else models.WordLevel(unk_token=UNKNOWN))
        normal: list[Any] = [normalizers.NFC(), *([normalizers.Lowercase()] if self.lower else [])]
        if self.kind != "char":  # Metaspace itself would add no mark before a space
            normal += [normalizers.Replace(" ", "▁"), normalizers.Prepend("▁")]
        made.normalizer = normalizers.Sequence(normal)
        if self.kind == "char":
            made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
            made.decoder = decoders.Fuse()
        else:
            spaces = pre_tokenizers.Metaspace(prepend_scheme="never")
            made.pre_tokenizer = pre_tokenizers.Sequence([spaces, pre_tokenizers.Punctuation()])
            made.decoder = decoders.Metaspace()
        size = self.limit or (8000 if pieces else 2**31 - 1)
        arguments: dict[str, Any] = {"vocab_size": size, "special_tokens": [UNKNOWN], "show_progress": False}
        trainer = trainers.BpeTrainer(**arguments) if pieces else trainers.WordLevelTrainer(**arguments)
        return made, trainer

    @property
    def vocabulary_size(self) -> int:
        """Ids, the unknown's among them."""
        return int(self._made.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; 0 for what is unknown."""
        return [found.ids for found in self._made.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Plain text; what is unknown is left out."""
        found: list[str] = self._made.decode_batch([list(row) for row in ids], skip_special_tokens=True)
        return found

    def symbols(self, ids: Sequence[int]) -> list[str]:
        """The pieces themselves, for pictures."""
        return [self._made.id_to_token(number) for number in ids]

    def to_json(self) -> dict[str, Any]:
        """All of it, as data."""
        return {"kind": self.kind, "limit": self.limit, "lower": self.lower, "vocabulary": self._made.to_str()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TextTokenizer:
        """What `to_json` gave."""
        from tokenizers import Tokenizer as Made

        tokenizer = cls(data["kind"], data["limit"], data["lower"])
        tokenizer._made = Made.from_str(data["vocabulary"])
        return tokenizer


def texts_of(data: Any, name: str) -> list[str]:
    """A list of texts from a list, an array or a frame's column, with the first item that is none named."""
    items = data.tolist() if hasattr(data, "tolist") else data.to_list() if hasattr(data, "to_list") else data
    if isinstance(items, str) or not isinstance(items, (list, tuple)):
        raise DataError(f"{name} must be a list of texts, got {type(data).__name__}")
    for number, item in enumerate(items):
        if not isinstance(item, str):
            raise DataError(f"{name}[{number}] must be a text, got {type(item).__name__}: {item!r:.60}")
        if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
            raise DataError(
                f"{name}[{number}] must be a text that UTF-8 can hold, got half a surrogate pair: {item!r:.60}"
            )
    return list(items)
