"""How good a picture or a mask is: one number an image, and their mean; and how good texts are.

Images are an array ``(n, …)``, or a list where their sizes differ. Each measure is worked out for one
image at a time, then averaged; none pools the pixels of several images. `error_rate` alone pools: it counts
the pieces of all texts, as is usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from isthmus.errors import DataError, ParameterError

__all__ = ["boundary_f1", "dice", "edits", "error_rate", "iou", "pixel_error", "psnr", "ssim"]


def psnr(y_true: Any, y_pred: Any, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log₁₀(R² / MSE) an image, averaged over images.

    Equal images have ∞ dB, and so has then the mean.

    Parameters
    ----------
    y_true, y_pred : array (n, …) or list of arrays
        Images, signals or volumes, in any layout.
    data_range : float, optional
        R, the largest value less the smallest that data may have. By default that of y_true's type, 255 for
        uint8; real numbers have none.
    """
    R = _range(y_true, data_range)

    def of(true: np.ndarray, pred: np.ndarray) -> float:
        error = np.square(true.astype(np.float64) - pred).mean()
        return 10 * np.log10(R**2 / error) if error > 0 else np.inf

    return _mean(of, y_true, y_pred)


def ssim(y_true: Any, y_pred: Any, data_range: float | None = None, dims: int = 2) -> float:
    """Structural similarity of an image, averaged over its positions, then over channels and images; 1 if equal.

    (2 μₓμᵧ + C₁)(2 σₓᵧ + C₂) / ((μₓ² + μᵧ² + C₁)(σₓ² + σᵧ² + C₂)) in a Gaussian window of σ = 1.5, 11 wide, with
    C₁ = (0.01 R)², C₂ = (0.03 R)² (Wang et al. 2004; they average over the valid positions, as is done here). By
    scikit-image, which the extra ``images`` brings.

    Parameters
    ----------
    y_true, y_pred : array (n, H, W) or (n, C, H, W), or list of arrays
        Images of at least 11 × 11; volumes where ``dims`` is 3.
    data_range : float, optional
        R, as for `psnr`.
    dims : int
        How many axes are positions.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise DataError("ssim needs scikit-image: pip install 'isthmus[images]'") from error
    R = _range(y_true, data_range)

    def of(true: np.ndarray, pred: np.ndarray) -> float:
        if true.ndim - dims not in (0, 1) or min(true.shape[-dims:]) < 11:
            raise DataError(f"ssim needs images of at least 11 a side with {dims} positions, got {true.shape}")
        channel = 0 if true.ndim > dims else None
        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        wide = true.astype(np.float64), pred.astype(np.float64)
        return structural_similarity(*wide, data_range=R, channel_axis=channel, **window)

    return _mean(of, y_true, y_pred)


def dice(y_true: Any, y_pred: Any, labels: int | Sequence[int] = 1, ignore_label: int | None = None) -> float:
    """Dice coefficient 2 |A ∩ B| / (|A| + |B|), also F1; averaged over labels, then over images.

    A are the positions that have the label in truth, B those predicted. Where both are empty it is 1; where
    one is, 0.

    Parameters
    ----------
    y_true, y_pred : array of int (n, H, W) or (n, D, H, W), or list of arrays
        A label a position.
    labels : int or sequence of int
        Which labels count: the foreground by default; (1, 2, 3) for three classes beside a background.
    ignore_label : int, optional
        Positions that have this label in truth do not count.
    """
    return _overlap(lambda both, sizes: 2 * both / sizes, y_true, y_pred, labels, ignore_label)


def iou(y_true: Any, y_pred: Any, labels: int | Sequence[int] = 1, ignore_label: int | None = None) -> float:
    """Intersection over union |A ∩ B| / |A ∪ B| (Jaccard); averaged over labels, then over images.

    Where both are empty it is 1. For a single image and label it is D / (2 − D) of the Dice coefficient D.

    Parameters
    ----------
    y_true, y_pred, labels, ignore_label
        As for `dice`.
    """
    return _overlap(lambda both, sizes: both / (sizes - both), y_true, y_pred, labels, ignore_label)


def boundary_f1(y_true: Any, y_pred: Any, labels: int | Sequence[int] = 1, tolerance: float = 2.0) -> float:
    """F1 of the boundaries, 2 P R / (P + R) a label; averaged over labels, then over images.

    P is the part of the predicted boundary that lies within the tolerance of a true one, R the part of the
    true boundary within the tolerance of a predicted one: the BF score of Csurka et al. (2013), who ask for a
    distance below the tolerance, where it may be equal here, so that 0 asks for the very same positions. The
    boundary are the label's positions with a neighbour along an axis that has another label; an image's edge
    is none. Where both boundaries are empty the score is 1, where one is, 0 (theirs leaves out absent labels).

    Parameters
    ----------
    y_true, y_pred, labels
        As for `dice`.
    tolerance : float
        Euclidean, in pixels. In the paper 0.75% of the image's diagonal.
    """
    if not tolerance >= 0:
        raise ParameterError(f"boundary_f1: tolerance must be a number of at least 0, got {tolerance!r}")
    from scipy import ndimage

    def boundary(mask: np.ndarray) -> np.ndarray:
        return mask & ~ndimage.binary_erosion(mask, border_value=1)

    def within(points: np.ndarray, others: np.ndarray) -> float:
        return float((ndimage.distance_transform_edt(~others)[points] <= tolerance).mean())

    def one(true: np.ndarray, pred: np.ndarray) -> float:
        true, pred = boundary(true), boundary(pred)
        if not true.any() or not pred.any():
            return float(true.any() == pred.any())
        precision, recall = within(pred, true), within(true, pred)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def of(true: np.ndarray, pred: np.ndarray) -> float:
        return float(np.mean([one(true == label, pred == label) for label in np.atleast_1d(labels)]))

    return _mean(of, y_true, y_pred, of_labels=True)


def pixel_error(y_true: Any, y_pred: Any, ignore_label: int | None = None) -> float:
    """The part of an image's positions whose predicted label is another; averaged over images.

    Parameters
    ----------
    y_true, y_pred, ignore_label
        As for `dice`. An image of ignored positions only has no error.
    """

    def of(true: np.ndarray, pred: np.ndarray) -> float:
        counts = true != ignore_label
        return (true != pred)[counts].mean() if counts.any() else 0.0

    return _mean(of, y_true, y_pred, of_labels=True)


# ---------------------------------------------------------------------- texts


def error_rate(references: Sequence[Sequence[Any]], found: Sequence[Sequence[Any]]) -> float:
    """Substitutions, deletions and insertions, the fewest that do, over all pieces of the references.

    0 is perfect; it may exceed 1. Of words it is the word error rate, of phonemes the phoneme error rate, of plain
    texts, whose pieces are characters, the character error rate.

    Parameters
    ----------
    references, found : list of sequences
        Pieces of each text, such as ``"HH AH L OW".split()``.
    """
    named = {"references": references, "found": found}
    if not all(isinstance(given, Sized) and not isinstance(given, str) for given in named.values()):
        kinds = " and ".join("a text" if isinstance(given, str) else type(given).__name__ for given in named.values())
        raise DataError(f"references and found must be lists of equally many sequences, got {kinds}")
    if len(references) != len(found):
        sizes = f"{len(references)} and {len(found)}"
        raise DataError(f"references and found must be lists of equally many sequences, got {sizes}")
    for name, given in named.items():
        for i, one in enumerate(given):
            if not isinstance(one, Sized):
                raise DataError(f"{name}[{i}] must be a text or a list of pieces, got {type(one).__name__}")
    pieces = sum(map(len, references))
    if not pieces:
        raise DataError("references must hold at least one piece, got none")
    return sum(int(_distances(*pair)[-1, -1]) for pair in zip(references, found, strict=True)) / pieces


def edits(reference: Sequence[Any], found: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """A shortest way from one to the other: positions in both, None where one has nothing beside the other's piece."""
    table = _distances(reference, found)
    way: list[tuple[int | None, int | None]] = []
    i, j = len(reference), len(found)
    while i or j:
        wrong = i and j and reference[i - 1] != found[j - 1]
        if i and j and table[i, j] == table[i - 1, j - 1] + wrong:
            i, j = i - 1, j - 1
            way.append((i, j))
        elif i and table[i, j] == table[i - 1, j] + 1:
            i -= 1
            way.append((i, None))
        else:
            j -= 1
            way.append((None, j))
    return way[::-1]


def _distances(reference: Sequence[Any], found: Sequence[Any]) -> np.ndarray:
    """The edit distance (Levenshtein 1966) of every beginning of one to every one of the other, ``(n + 1, m + 1)``."""
    codes: dict[Any, int] = {}
    true, pred = (np.array([codes.setdefault(piece, len(codes)) for piece in row], int) for row in (reference, found))
    along = np.arange(len(pred) + 1)
    table = np.empty((len(true) + 1, len(along)), int)
    table[0] = along
    for row, code in enumerate(true):
        above = table[row]
        best = np.minimum(above[1:] + 1, above[:-1] + (pred != code))  # all but insertions, which cost 1 a step
        table[row + 1] = np.minimum.accumulate(np.concatenate([[row + 1], best]) - along) + along
    return table


# ---------------------------------------------------------------------- image by image


def _overlap(
    ratio: Callable[[float, float], float],
    y_true: Any,
    y_pred: Any,
    labels: int | Sequence[int],
    ignore_label: int | None,
) -> float:
    """The mean of ``ratio(|A ∩ B|, |A| + |B|)`` over labels and images; 1 where both are empty."""

    def one(true: np.ndarray, pred: np.ndarray) -> float:
        sizes = float(true.sum() + pred.sum())
        return ratio(float((true & pred).sum()), sizes) if sizes else 1.0

    def of(true: np.ndarray, pred: np.ndarray) -> float:
        counts = true != ignore_label
        return float(np.mean([one(true[counts] == k, pred[counts] == k) for k in np.atleast_1d(labels)]))

    return _mean(of, y_true, y_pred, of_labels=True)


def _mean(of: Callable[[np.ndarray, np.ndarray], float], y_true: Any, y_pred: Any, of_labels: bool = False) -> float:
    return float(np.mean([of(true, pred) for true, pred in _pairs(y_true, y_pred, of_labels)]))


def _pairs(y_true: Any, y_pred: Any, of_labels: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and image, held to one shape."""
    if len(y_true) != len(y_pred) or not len(y_true):
        raise DataError(f"y_true and y_pred must hold as many images, at least 1, got {len(y_true)} and {len(y_pred)}")
    for i, pair in enumerate(zip(y_true, y_pred, strict=True)):
        true, pred = map(np.asarray, pair)
        if true.shape != pred.shape or not true.size:
            raise DataError(f"y_pred[{i}] must have y_true's shape, not empty, {true.shape}, got {pred.shape}")
        for name, array in (("y_true", true), ("y_pred", pred)):
            if of_labels and (array.dtype.kind not in "biu" or array.ndim not in (1, 2, 3)):
                wanted = "whole numbers of shape (T,), (H, W) or (D, H, W)"
                raise DataError(f"{name}[{i}] must be labels, {wanted}, got {array.dtype} {array.shape}")
        yield true, pred


def _range(y_true: Any, data_range: float | None) -> float:
    """R, from the type of whole numbers where it is not given."""
    if data_range is None:
        kind = np.asarray(y_true[0]).dtype
        if kind.kind != "u":
            raise ParameterError(f"data_range must be given for {kind}, such as 1.0 for values between 0 and 1")
        return float(np.iinfo(kind).max)
    if not 0 < data_range < np.inf:
        raise ParameterError(f"data_range must be a number above 0, got {data_range!r}")
    return float(data_range)
