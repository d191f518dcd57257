"""One image file to one array: Pillow for most, tifffile for TIFF. Both load on first use.

What comes out is ``(C, *positions)``, whatever the file holds: ``(1, H, W)`` grey, ``(3, H, W)``
colour, ``(C, D, H, W)`` for the pages of a TIFF.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import DataError

__all__ = ["SUFFIXES", "load"]

JPEG = (".jpg", ".jpeg")
TIFF = (".tif", ".tiff")
SUFFIXES = (".png", *JPEG, ".bmp", ".gif", *TIFF, ".webp")

logger = logging.getLogger("isthmus")


def load(path: Path, name: str = "X", labels: bool = False) -> np.ndarray:
    """The file's values ``(C, *positions)`` in their own range; or its labels, ``(1, *positions)``.

    A photograph is turned as its EXIF note says. An opaque alpha channel is dropped. A label is the value
    as stored, or the palette's index (a grey GIF's value); two-colour files give 0 and 1.

    Raises
    ------
    DataError
        That names the argument and the file: no image, a corrupt one, one with transparent parts, one
        with several frames that is no TIFF, 16 bit colour that is no TIFF (Pillow would make it 8). Labels
        in JPEG, which blurs them, in colour, or fractions.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES or not path.is_file():
        raise DataError(f"{name}: {path} is no image; images end in {', '.join(SUFFIXES)}")
    if labels and suffix in JPEG:
        raise DataError(f"{name}: {path}: JPEG blurs labels; save masks as .png or .tif")
    try:
        array, alpha = _tiff(path, labels) if suffix in TIFF else _picture(path, labels)
    except ImportError as error:
        raise DataError(f"{name}: reading images needs {error.name}: pip install 'isthmus[images]'") from error
    except Exception as error:
        raise DataError(f"{name}: cannot read {path}: {error}") from error
    if alpha:
        if not (array[-1] == (np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1)).all():
            raise DataError(f"{name}: {path} has transparent parts; lay it on a background first")
        logger.info("%s: an alpha channel, opaque everywhere, was dropped", path)
        array = array[:-1]
    if array.dtype == bool:
        array = array.astype(np.uint8) * (1 if labels else 255)
    array = _labels(array, path, name) if labels else array
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _labels(array: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Labels in one channel, whole numbers."""
    if len(array) > 1 and not (array == array[:1]).all():
        raise DataError(f"{name}: {path} is in colour; a mask must hold its labels in one channel or in a palette")
    if array.dtype.kind != "f":
        return array[:1]
    if not (array == np.round(array)).all():
        raise DataError(f"{name}: {path} must hold whole numbers, one a label, got fractions")
    return array[:1].astype(np.int64)


# ---------------------------------------------------------------------- Pillow


def _picture(path: Path, labels: bool) -> tuple[np.ndarray, bool]:
    """The one frame of a file, ``(C, H, W)``, and whether its last channel is alpha."""
    from PIL import Image, ImageOps

    image: Any
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a phone's JPEG with a second, small picture
            raise ValueError(f"it holds {image.n_frames} frames; save one a file, or a TIFF")
        if image.format == "PNG" and not image.mode.startswith("I") and _bits(path) == 16:
            raise ValueError("16 bit colour or alpha would lose its lower 8 bits; save it as TIFF")
        if image.format == "GIF" and image.mode == "P":
            if _is_grey(image):
                image = image.convert("LA" if "transparency" in image.info else "L")
            elif labels:
                raise ValueError("a GIF in colour may renumber its palette; save masks as .png or .tif")
        array, alpha = _values(ImageOps.exif_transpose(image), labels)
        if image.format == "PNG" and array.dtype == np.int32:  # so older Pillows read grey of 16 bits
            array = array.astype(np.uint16)
        return array, alpha


def _bits(path: Path) -> int:
    """The bits a sample of a PNG: byte 24, in its header."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _is_grey(image: Any) -> bool:
    """Whether red, green and blue are one number in all of a palette."""
    red, green, blue = np.reshape(image.getpalette(), (-1, 3)).T
    return bool((red == green).all() and (green == blue).all())


def _values(image: Any, labels: bool) -> tuple[np.ndarray, bool]:
    mode, transparent = image.mode, "transparency" in image.info
    if mode in ("P", "PA") and labels:
        indices = np.array(image)
        return (indices if mode == "P" else indices[..., 0])[np.newaxis], False
    if mode in ("P", "PA", "RGB", "RGBa"):
        mode = "RGBA" if transparent or mode.lower().endswith("a") else "RGB"
    elif mode in ("L", "La"):
        mode = "LA" if transparent or mode == "La" else "L"
    elif mode not in ("1", "LA", "RGBA", "F") and not mode.startswith("I"):  # CMYK, YCbCr, LAB, HSV
        mode = "RGB"
    array = np.array(image if mode == image.mode else image.convert(mode))
    return (array[np.newaxis] if array.ndim == 2 else np.moveaxis(array, -1, 0)), mode in ("LA", "RGBA")


# ---------------------------------------------------------------------- tifffile


def _tiff(path: Path, labels: bool) -> tuple[np.ndarray, bool]:
    """The pages of a TIFF, ``(C, H, W)`` or ``(C, pages, H, W)``, and whether the last channel is alpha."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        if len(file.series) > 1:
            raise ValueError(f"its pages have {len(file.series)} sizes or kinds; save pages of one, or one a file")
        kind = page.photometric.name
        if kind not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE"):
            return _tiff_by_pillow(path, labels, page)
        try:
            array, axes = file.series[0].asarray(), file.series[0].axes
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _tiff_by_pillow(path, labels, page)
        colours = page.colormap if kind == "PALETTE" else None
    if kind == "MINISWHITE" and not labels:
        array = ~array  # of unsigned numbers, their distance from the largest
    channel = next((i for i, axis in enumerate(axes) if axis in "SC"), None)
    array = array[np.newaxis] if channel is None else np.moveaxis(array, channel, 0)
    if array.ndim > 4:
        raise ValueError(f"its axes are {axes}, of shape {array.shape}; save one stack of pages a file")
    if colours is not None and not labels:
        array = (colours[:, array[0]] >> 8).astype(np.uint8)
    return array, any(extra.name in ("ASSOCALPHA", "UNASSALPHA") for extra in page.extrasamples)


def _tiff_by_pillow(path: Path, labels: bool, page: Any) -> tuple[np.ndarray, bool]:
    """What tifffile does not read by itself: LZW and JPEG inside, CMYK."""
    from PIL import Image, ImageSequence

    if page.samplesperpixel > 1 and page.bitspersample > 8:
        raise ValueError(f"{page.compression.name} of {page.bitspersample} bit colour needs pip install imagecodecs")
    with Image.open(path) as image:
        frames, alphas = zip(*(_values(frame, labels) for frame in ImageSequence.Iterator(image)), strict=True)
    return (frames[0] if len(frames) == 1 else np.stack(frames, 1)), alphas[0]
