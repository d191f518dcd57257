"""Images as they come: folders, files, stacks, pairs of images and masks, lists of unequal sizes.

Layouts are those of `adapters`: a grey image is ``(H, W)``, a colour one ``(3, H, W)``, a volume
``(D, H, W)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.image_files import SUFFIXES, load

__all__ = ["SUFFIXES", "holds_images", "looks_channels_last", "read_images", "read_pairs", "stacked"]


def holds_images(data: Any) -> bool:
    """Whether it is the path of an image or of a folder of images."""
    return isinstance(data, (str, Path)) and (Path(data).is_dir() or Path(data).suffix.lower() in SUFFIXES)


def read_images(path: str | Path, name: str = "X", *, labels: bool = False) -> list[np.ndarray]:
    """The images of a folder in the order of their names, of a file, or of the pages of a TIFF.

    Values keep their range: 8 bit is uint8, 16 bit uint16. Grey images are ``(H, W)``, colour ones
    ``(3, H, W)``, and a palette is turned into colour. In a folder a TIFF of several pages is one volume,
    ``(D, H, W)``; given by itself it is a stack of images. Hidden files are left out. See `image_files.load`.

    Parameters
    ----------
    path : str or Path
        A folder, or a file: .png .jpg .jpeg .bmp .gif .tif .tiff .webp.
    name : str
        The argument that an error names.
    labels : bool
        True for masks: a label is the value as stored, or the palette's index, in one channel; two-colour files
        give 0 and 1. JPEG is refused, since it blurs labels.

    Raises
    ------
    DataError
        Where there is nothing to read, a file is no image or a corrupt one, or grey and colour, 8 and 16 bit
        or images and volumes stand in one folder. It names the file.
    """
    path = Path(path)
    if path.is_dir():
        return _read_all(_files(path, name), name, labels)
    if not path.is_file():
        raise DataError(f"{name}: no such file or folder: {path}")
    array = load(path, name, labels)
    pages = np.moveaxis(array, 1, 0) if array.ndim == 4 else array[np.newaxis]
    return [_flat(page) for page in pages]


def read_pairs(
    images: str | Path, masks: str | Path, names: tuple[str, str] = ("X", "y")
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images and their masks, ``(H, W)`` or ``(D, H, W)``, one for one.

    Of two folders, an image and a mask are a pair where the mask's name without its suffix is the image's, or
    the image's and an ending that most masks share: ``7.png`` with ``7.png``, or with ``7_mask.gif`` among
    other masks that end in ``_mask``. Of two files, the pages are paired in their order.

    Parameters
    ----------
    images, masks : str or Path
        Two folders or two files, as in `read_images`.
    names : pair of str
        The arguments that an error names.

    Raises
    ------
    DataError
        Besides those of `read_images`: an image without a mask or a mask without an image, two files of one
        name, a mask of another size. It names the first of them.
    """
    images, masks = Path(images), Path(masks)
    if images.is_dir() and masks.is_dir():
        files = _paired(_by_stem(images, names[0]), _by_stem(masks, names[1]), names)
        x, y = _read_all(files[0], names[0]), _read_all(files[1], names[1], labels=True)
        shown = [f"{mask} of {image}" for image, mask in zip(*files, strict=True)]
    else:
        x, y = read_images(images, names[0]), read_images(masks, names[1], labels=True)
        if len(x) != len(y):
            raise DataError(f"{names[1]}: {masks} holds {len(y)} masks for the {len(x)} images of {images}")
        shown = [f"image {i} of {masks}" for i in range(len(y))]
    for which, image, mask in zip(shown, x, y, strict=True):
        if image.shape[-mask.ndim :] != mask.shape or image.ndim - mask.ndim not in (0, 1):
            raise DataError(f"{names[1]}: {which} must have the image's size, {image.shape}, got {mask.shape}")
    return x, y


def stacked(
    images: np.ndarray | Sequence[np.ndarray], name: str = "X", dims: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """One array of all images, and where it holds data if their sizes differ.

    Parameters
    ----------
    images : array or list of arrays
        Each ``(*positions)`` or ``(C, *positions)``. One array, a memory map too, is given back as it is.
    name : str
        The argument that an error names.
    dims : int, optional
        How many axes are positions; by default all of one or two, and all but the first of more.

    Returns
    -------
    array : ndarray
        ``(n, …)`` of the same dtype; unequal images have zeros at the end of each axis, up to the largest size.
    mask : ndarray of bool, or None
        ``(n, *positions)``, True where there is data; None where all images have one size.
    """
    if isinstance(images, np.ndarray):
        return images, None
    arrays = [np.asarray(image) for image in images]
    if not arrays:
        raise DataError(f"{name} must hold at least one image")
    first = arrays[0]
    dims = dims or (first.ndim if first.ndim < 3 else first.ndim - 1)
    for i, array in enumerate(arrays):
        if array.dtype.kind not in "biuf" or array.ndim - dims not in (0, 1) or 0 in array.shape:
            wanted = "numbers of shape (*positions) or (C, *positions)"
            raise DataError(f"{name}[{i}] must be {wanted} with {dims} positions, got {array.dtype} {array.shape}")
        if array.ndim != first.ndim or array.shape[:-dims] != first.shape[:-dims]:
            raise DataError(f"{name}[{i}] must have as many channels as {name}[0], {first.shape}, got {array.shape}")
    if all(array.shape == first.shape for array in arrays):
        return np.stack(arrays), None
    largest = np.max([array.shape for array in arrays], axis=0)
    padded = np.zeros((len(arrays), *largest), np.result_type(*arrays))
    mask = np.zeros((len(arrays), *largest[-dims:]), bool)
    for i, array in enumerate(arrays):
        padded[i][tuple(slice(size) for size in array.shape)] = array
        mask[i][tuple(slice(size) for size in array.shape[-dims:])] = True
    return padded, mask


def looks_channels_last(shape: tuple[int, ...], name: str = "X") -> str | None:
    """What to tell the user where images ``(n, H, W, C)`` or volumes ``(n, D, H, W, C)`` seem to be channels last.

    They seem so where the last axis has 1, 3 or 4 entries and the second more than 4. None otherwise.
    """
    if len(shape) not in (4, 5) or shape[-1] not in (1, 3, 4) or shape[1] <= 4:
        return None
    axes = "n, H, W" if len(shape) == 4 else "n, D, H, W"
    return f"{name} looks like ({axes}, {shape[-1]}), channels last; give np.moveaxis({name}, -1, 1)"


# ---------------------------------------------------------------------- files


def _files(folder: Path, name: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not files:
        raise DataError(f"{name}: the folder {folder} holds no images")
    return files


def _read_all(files: Sequence[Path], name: str, labels: bool = False) -> list[np.ndarray]:
    arrays: list[np.ndarray] = []
    for path in files:
        arrays.append(load(path, name, labels))
        if (kind := _kind(arrays[-1], labels)) != (wanted := _kind(arrays[0], labels)):
            raise DataError(f"{name}: {path} is {kind}, but {files[0]} is {wanted}; a folder must hold one kind")
    return [_flat(array) for array in arrays]


def _kind(array: np.ndarray, labels: bool) -> str:
    """What a folder holds only one of; masks may differ in the width of their numbers."""
    colour = {1: "grey", 3: "colour"}.get(len(array), f"{len(array)}-channel")
    return f"a {colour} {'volume' if array.ndim == 4 else 'image'}" + ("" if labels else f" of {array.dtype}")


def _flat(array: np.ndarray) -> np.ndarray:
    return array[0] if len(array) == 1 else array


# ---------------------------------------------------------------------- pairs


def _by_stem(folder: Path, name: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in _files(folder, name):
        if path.stem in found:
            raise DataError(f"{name}: {found[path.stem]} and {path} have one name; pairs are told by it")
        found[path.stem] = path
    return found


def _paired(images: dict[str, Path], masks: dict[str, Path], names: tuple[str, str]) -> tuple[list[Path], list[Path]]:
    """The files in the images' order, by the ending that most masks have beyond an image's stem."""
    endings = Counter(stem[i:] for stem in masks for i in range(1, len(stem) + 1) if stem[:i] in images)
    ending = min(endings, key=lambda ending: (-endings[ending], len(ending)), default="")
    counts = f"{len(images)} images, {len(masks)} masks"
    if lone := [images[stem] for stem in images if stem + ending not in masks]:
        raise DataError(f"{names[1]}: no mask {lone[0].stem + ending}.* for {_first(lone)} ({counts})")
    wanted = {stem + ending for stem in images}
    if lone := [masks[stem] for stem in masks if stem not in wanted]:
        raise DataError(f"{names[0]}: no image for {_first(lone)} ({counts})")
    return list(images.values()), [masks[stem + ending] for stem in images]


def _first(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
