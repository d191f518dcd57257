"""Images from files: what is read, how pairs are found, and what is refused; lists of unequal sizes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus import Autoencoder, adapters
from isthmus.errors import DataError
from isthmus.images import looks_channels_last, read_images, read_pairs, stacked
from isthmus.training.loop import Loop

Image = pytest.importorskip("PIL.Image")
tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
VOLUME = RNG.integers(0, 65536, (4, 5, 7), dtype=np.uint16)
MASK = RNG.integers(0, 3, (5, 7), dtype=np.uint8)
ALPHA = np.dstack([COLOUR, np.full((5, 7), 255, np.uint8)])
FIRST = np.moveaxis(COLOUR, -1, 0)


def save(path: Path, array: np.ndarray, mode: str | None = None, **more: object) -> Path:
    """The array by Pillow, or by tifffile where that is a TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".tiff") and mode is None:
        tifffile.imwrite(path, array, **{"photometric": "minisblack", **more})
    else:
        image = Image.fromarray(array)
        (image if mode is None else image.convert(mode)).save(path, **more)
    return path


def palette(path: Path, indices: np.ndarray = MASK, **more: object) -> Path:
    """Labels 0, 1, 2 shown as black, red and green."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(path, **more)
    return path


# ---------------------------------------------------------------------- what is read


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".webp", ".PNG"])
def test_colour_without_loss(tmp_path, suffix):
    more = {"lossless": True} if suffix == ".webp" else {"photometric": "rgb"} if suffix.startswith(".tif") else {}
    (image,) = read_images(save(tmp_path / f"a{suffix}", COLOUR, **more))
    assert image.dtype == np.uint8
    assert np.array_equal(image, FIRST)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tif"])
def test_grey_without_loss(tmp_path, suffix):
    (image,) = read_images(save(tmp_path / f"a{suffix}", GREY))
    assert image.dtype == np.uint8
    assert np.array_equal(image, GREY)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg(tmp_path, suffix):
    flat = np.full((8, 8, 3), 77, np.uint8)
    (image,) = read_images(save(tmp_path / f"a{suffix}", flat))
    assert image.shape == (3, 8, 8)
    assert np.abs(image.astype(int) - 77).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_keeps_its_range(tmp_path, suffix):
    (image,) = read_images(save(tmp_path / f"a{suffix}", DEEP))
    assert image.dtype == np.uint16
    assert np.array_equal(image, DEEP)


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        (COLOUR.astype(np.uint16) * 257, {"photometric": "rgb"}, FIRST.astype(np.uint16) * 257),
        (DEEP, {"byteorder": ">"}, DEEP),
        (DEEP.astype(np.float32), {}, DEEP.astype(np.float32)),
        (GREY, {"photometric": "miniswhite"}, 255 - GREY),
        (GREY > 9, {}, 255 * (GREY > 9)),
        (GREY > 9, {"photometric": "miniswhite"}, 255 * (GREY <= 9)),
        (MASK, {"photometric": "palette", "colormap": np.arange(768).reshape(3, 256) * 85}, None),
    ],
    ids=["16 bit colour", "big endian", "real numbers", "white is 0", "1 bit", "1 bit, white is 0", "palette"],
)
def test_kinds_of_tiff(tmp_path, array, options, expected):
    if "colormap" in options:
        options = {**options, "colormap": options["colormap"].astype(np.uint16)}
        expected = (options["colormap"][:, array] >> 8).astype(np.uint8)
    (image,) = read_images(save(tmp_path / "a.tif", array, **options))
    assert image.dtype.isnative
    assert np.array_equal(image, expected)
    torch.from_numpy(image)


@pytest.mark.parametrize(("array", "expected"), [(GREY, GREY), (COLOUR, FIRST)], ids=["grey", "colour"])
def test_lzw_inside_a_tiff_needs_nothing_more(tmp_path, array, expected):
    Image.fromarray(array).save(tmp_path / "a.tif", compression="tiff_lzw")
    (image,) = read_images(tmp_path / "a.tif")
    assert np.array_equal(image, expected)


def test_a_tiff_of_pages_is_a_stack_by_itself_and_a_volume_in_a_folder(tmp_path):
    path = save(tmp_path / "folder" / "stack.tif", VOLUME)
    pages = read_images(path)
    assert len(pages) == 4
    assert np.array_equal(np.stack(pages), VOLUME)
    (volume,) = read_images(path.parent)
    assert np.array_equal(volume, VOLUME)


def test_pages_of_colour(tmp_path):
    pages = RNG.integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    path = save(tmp_path / "folder" / "stack.tif", pages, photometric="rgb")
    assert np.array_equal(np.stack(read_images(path)), np.moveaxis(pages, -1, 1))
    assert np.array_equal(read_images(path.parent)[0], np.moveaxis(pages, -1, 0))


def test_pages_of_lzw(tmp_path):
    first, *others = [Image.fromarray(page) for page in VOLUME]
    first.save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=others)
    assert np.array_equal(np.stack(read_images(tmp_path / "a.tif")), VOLUME)


def test_a_folder_in_the_order_of_its_names(tmp_path):
    for name, value in [("b.png", 2), ("a.bmp", 1), ("c.tif", 3)]:
        save(tmp_path / name, np.full((4, value), value, np.uint8))
    (tmp_path / ".DS_Store").write_bytes(b"hidden")
    images = read_images(str(tmp_path))
    assert [image.shape for image in images] == [(4, 1), (4, 2), (4, 3)]
    assert [image[0, 0] for image in images] == [1, 2, 3]


def test_palette_is_colour_in_an_image_and_an_index_in_a_mask(tmp_path):
    seen = np.stack([255 * (MASK == 1), 255 * (MASK == 2), 0 * MASK])
    assert np.array_equal(read_images(palette(tmp_path / "a.png"))[0], seen)
    assert np.array_equal(read_images(palette(tmp_path / "a.gif"))[0], seen)
    assert np.array_equal(read_images(tmp_path / "a.png", "y", labels=True)[0], MASK)


def test_a_grey_gif_keeps_its_values_whatever_its_palette(tmp_path):
    few = np.array([[7, 9], [9, 7]], np.uint8)  # Pillow writes them as the indices 0 and 1
    assert np.array_equal(read_images(save(tmp_path / "a.gif", few))[0], few)
    assert np.array_equal(read_images(tmp_path / "a.gif", labels=True)[0], few)


def test_labels_as_they_are_often_saved(tmp_path):
    halves = MASK > 0
    ways = {
        "two colours": save(tmp_path / "a.png", halves),
        "equal channels": save(tmp_path / "b.png", np.dstack([halves * np.uint8(1)] * 3)),
        "opaque": save(tmp_path / "c.png", np.dstack([halves * np.uint8(1)] * 3 + [np.full((5, 7), 255, np.uint8)])),
        "real": save(tmp_path / "d.tif", halves.astype(np.float32)),
        "bits": save(tmp_path / "e.tif", halves),
        "bits, white is 0": save(tmp_path / "f.tif", halves, photometric="miniswhite"),
        "grey gif": save(tmp_path / "g.gif", halves * np.uint8(1)),
    }
    for way, path in ways.items():
        (labels,) = read_images(path, "y", labels=True)
        assert labels.dtype.kind in "iu", way
        assert np.array_equal(labels, halves), way


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_opaque_alpha_is_dropped_with_a_note(tmp_path, caplog, suffix):
    path = save(tmp_path / f"a{suffix}", ALPHA, **({"photometric": "rgb"} if suffix == ".tif" else {}))
    with caplog.at_level(logging.INFO, "isthmus"):
        (image,) = read_images(path)
    assert np.array_equal(image, FIRST)
    assert str(path) in caplog.text


def test_a_photograph_is_turned_as_it_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held a quarter turn
    save(tmp_path / "a.png", COLOUR, exif=exif)
    assert np.array_equal(read_images(tmp_path / "a.png")[0], np.rot90(FIRST, -1, (1, 2)))


def test_cmyk_is_colour(tmp_path):
    (image,) = read_images(save(tmp_path / "a.tif", np.full((4, 4, 3), 9, np.uint8), "CMYK"))
    assert image.shape == (3, 4, 4)


# ---------------------------------------------------------------------- pairs


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["1.png", "11.png", "2.png"], ["1.png", "11.png", "2.png"]),
        (["1.png", "11.png", "2.png"], ["1_mask.gif", "11_mask.gif", "2_mask.gif"]),
        (["a.b.jpg", "a.c.jpg"], ["a.b-labels.tif", "a.c-labels.tif"]),
        (["a.png", "a_mask.png"], ["a_mask.png", "a_mask_mask.png"]),
    ],
)
def test_pairs_by_name(tmp_path, images, masks):
    for folder, names in (("x", images), ("y", masks)):
        for i, name in enumerate(names):
            save(tmp_path / folder / name, np.full((8, 8), 10 * i, np.uint8))
    x, y = read_pairs(tmp_path / "x", tmp_path / "y")
    assert [image[0, 0] for image in x] == [mask[0, 0] for mask in y] == [10 * i for i in range(len(images))]


def test_pairs_of_two_stacks(tmp_path):
    x, y = read_pairs(save(tmp_path / "x.tif", VOLUME), save(tmp_path / "y.tif", (VOLUME > 9).astype(np.uint8)))
    assert len(x) == len(y) == 4
    assert np.array_equal(np.stack(y), np.stack(x) > 9)


def test_pairs_of_volumes(tmp_path):
    save(tmp_path / "x" / "a.tif", VOLUME)
    save(tmp_path / "y" / "a.tif", (VOLUME > 9).astype(np.uint8))
    (x,), (y,) = read_pairs(tmp_path / "x", tmp_path / "y")
    assert x.shape == y.shape == VOLUME.shape


# ---------------------------------------------------------------------- what is refused


def corrupt(path: Path, keep: int = 60) -> Path:
    path.write_bytes(path.read_bytes()[:keep])
    return path


def deep_colour(path: Path) -> Path:
    """A PNG of 16 bit colour, one pixel, written by hand."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = zlib.compress(b"\0" + struct.pack(">HHH", 1, 2, 3))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def frames(path: Path) -> Path:
    Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(255 - GREY)])
    return path


def files(folder: Path, **arrays: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        save(folder / f"{name}.png", array)
    return folder


def written(path: Path, data: bytes = b"no image") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def clear(path: Path) -> Path:
    half = ALPHA.copy()
    half[2, 3, 3] = 254
    return save(path, half, **({"photometric": "rgb"} if path.suffix == ".tif" else {}))


# name of the case: (what is given as X, what the message must hold beside the argument's name)
IMAGES = {
    "no such file": (lambda at: at / "none.png", "no such file.*none.png"),
    "no such folder": (lambda at: at / "none", "a path must end in one of .*folder of images.*none"),
    "empty folder": (lambda at: made(at / "empty"), "the folder .*empty holds no images"),
    "hidden files only": (lambda at: written(at / "f" / ".a.png").parent, "the folder .*f holds no images"),
    "other file in a folder": (
        lambda at: written(files(at / "f", a=GREY) / "notes.txt").parent,
        "notes.txt is no image",
    ),
    "folder in a folder": (lambda at: made(files(at / "f", a=GREY) / "cats").parent, "cats is no image"),
    "text called png": (lambda at: written(at / "a.png"), "cannot read .*a.png.*identify"),
    "text called tif": (lambda at: written(at / "a.tif"), "cannot read .*a.tif"),
    "empty file": (lambda at: written(at / "a.jpg", b""), "cannot read .*a.jpg"),
    "cut png": (lambda at: corrupt(save(at / "a.png", COLOUR)), "cannot read .*a.png"),
    "cut tif": (lambda at: corrupt(save(at / "a.tif", VOLUME), 400), "cannot read .*a.tif"),
    "corrupt in a folder": (
        lambda at: corrupt(files(at / "f", a=GREY, b=GREY) / "b.png").parent,
        "cannot read .*b.png",
    ),
    "grey and colour": (
        lambda at: files(at / "f", a=GREY, b=GREY, c=COLOUR),
        "c.png is a colour image.*a.png is a grey",
    ),
    "8 and 16 bit": (lambda at: files(at / "f", a=GREY, b=DEEP), "b.png is a grey image of uint16.*a.png.*uint8"),
    "image and volume": (lambda at: save(files(at / "f", a=DEEP) / "b.tif", VOLUME).parent, "b.tif is a grey volume"),
    "transparent png": (lambda at: clear(at / "a.png"), "a.png has transparent parts"),
    "transparent tif": (lambda at: clear(at / "a.tif"), "a.tif has transparent parts"),
    "transparent palette": (lambda at: palette(at / "a.png", transparency=1), "a.png has transparent parts"),
    "transparent key": (lambda at: save(at / "a.png", MASK, transparency=1), "a.png has transparent parts"),
    "frames of a gif": (lambda at: frames(at / "a.gif"), "a.gif.*holds 2 frames"),
    "16 bit colour png": (lambda at: deep_colour(at / "a.png"), "a.png.*16 bit colour.*TIFF"),
    "pages of pages": (lambda at: save(at / "a.tif", np.zeros((2, 2, 5, 7), np.uint8)), "a.tif.*one stack"),
    "tif called png": (lambda at: save(at / "a.tif", COLOUR, photometric="rgb").rename(at / "b.gif"), None),
}


@pytest.mark.parametrize("case", IMAGES)
def test_refused_before_training(case, tmp_path, monkeypatch):
    def no_step(self: Loop) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(Loop, "run", no_step)
    make, message = IMAGES[case]
    given = make(tmp_path)
    if message is None:  # a suffix may lie as long as the file is an image
        assert np.array_equal(read_images(given)[0], FIRST)
        return
    with pytest.raises(DataError, match=f"^X: .*{message}"):
        Autoencoder().fit(given)


TWO = {"a": GREY, "b": GREY}

# name of the case: (images, masks, what the message must hold)
PAIRS = {
    "a mask missing": (TWO, {"a": MASK}, "y: no mask b.* for .*b.png \\(2 images, 1 masks\\)"),
    "a mask with an ending missing": (
        {**TWO, "c": GREY},
        {"a_mask": MASK, "c_mask": MASK},
        "y: no mask b_mask.* for .*x/b.png \\(3 images",
    ),
    "an image missing": (TWO, {**TWO, "c": MASK}, "X: no image for .*y/c.png"),
    "an image of an ending missing": (TWO, {"a_m": MASK, "b_m": MASK, "d_m": MASK}, "X: no image for .*y/d_m.png"),
    "no name in common": (TWO, {"k": MASK, "l": MASK}, "y: no mask a.* for .*a.png, .*b.png"),
    "many missing": ({str(i): GREY for i in range(9)}, {"0": MASK}, "3.png and 5 more"),
    "another size": (TWO, {"a": MASK, "b": MASK[:4]}, "y: .*b.png of .*b.png must have.*\\(5, 7\\), got \\(4, 7\\)"),
    "turned": (TWO, {"a": MASK.T, "b": MASK}, "y: .*a.png .*got \\(7, 5\\)"),
    "no images": ({}, TWO, "X: the folder .*x holds no images"),
    "no masks": (TWO, {}, "y: the folder .*y holds no images"),
    "mask in colour": (TWO, {"a": MASK, "b": COLOUR}, "y: .*b.png is in colour"),
}


@pytest.mark.parametrize("case", PAIRS)
def test_pairs_refused(case, tmp_path):
    images, masks, message = PAIRS[case]
    with pytest.raises(DataError, match=message):
        read_pairs(files(tmp_path / "x", **images), files(tmp_path / "y", **masks))


def test_more_pairs_refused(tmp_path):
    x, y = files(tmp_path / "x", a=GREY), files(tmp_path / "y", a=MASK)
    with pytest.raises(DataError, match=r"^masks: no such file or folder"):
        read_pairs(x, tmp_path / "z", names=("images", "masks"))
    with pytest.raises(DataError, match=r"y: .* holds 1 masks for the 4 images"):
        read_pairs(save(tmp_path / "x.tif", VOLUME), y / "a.png")
    with pytest.raises(DataError, match="JPEG blurs labels"):
        read_pairs(x, save(tmp_path / "j" / "a.jpg", MASK).parent)
    with pytest.raises(DataError, match="renumber"):
        read_pairs(x, palette(tmp_path / "g" / "a.gif").parent)
    with pytest.raises(DataError, match="whole numbers"):
        read_pairs(x, save(tmp_path / "r" / "a.tif", MASK / np.float32(2)).parent)
    save(x / "a.bmp", GREY)
    with pytest.raises(DataError, match=r"X: .*a\.bmp and .*a\.png have one name"):
        read_pairs(x, y)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", GREY)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DataError, match=r"X: reading images needs PIL: pip install 'isthmus\[images\]'"):
        read_images(path)


# ---------------------------------------------------------------------- lists of arrays


def test_equal_sizes_are_stacked_without_a_mask():
    array, mask = stacked([GREY, GREY + 1])
    assert array.shape == (2, 5, 7)
    assert array.dtype == np.uint8
    assert mask is None


@pytest.mark.parametrize("channels", [(), (3,)])
def test_unequal_sizes_are_padded_at_the_end(channels):
    small, wide = np.ones((*channels, 2, 3), np.uint16), np.ones((*channels, 1, 4), np.uint16)
    array, mask = stacked([small, wide])
    expected = np.array([[[1, 1, 1, 0], [1, 1, 1, 0]], [[1, 1, 1, 1], [0, 0, 0, 0]]])  # (n, H, W)
    assert array.dtype == np.uint16
    assert np.array_equal(mask, expected.astype(bool))
    assert np.array_equal(array, np.broadcast_to(expected[:, None], array.shape) if channels else expected)


def test_three_axes_are_a_volume_where_dims_says_so():
    array, mask = stacked([np.ones((2, 3, 4)), np.ones((3, 3, 4))], dims=3)
    assert array.shape == mask.shape == (2, 3, 3, 4)
    assert not mask[0, 2].any()
    with pytest.raises(DataError, match=r"X\[1\] must have as many channels as X\[0\]"):
        stacked([np.ones((2, 3, 4)), np.ones((3, 3, 4))])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "y must hold at least one"),
        ([GREY, COLOUR], r"y\[1\] must have as many channels"),
        ([GREY, FIRST[0, 0]], r"y\[1\] must be numbers"),
        ([GREY, GREY[:0]], r"y\[1\] must be numbers"),
        ([GREY, GREY.astype(str)], r"y\[1\] must be numbers"),
        ([FIRST, FIRST[:2]], r"y\[1\] must have as many channels as y\[0\], \(3, 5, 7\), got \(2, 5, 7\)"),
    ],
)
def test_lists_that_fit_no_array(images, message):
    with pytest.raises(DataError, match=message):
        stacked(images, "y", dims=2)


def test_a_memory_map_is_left_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", VOLUME)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert adapters.read(mapped) is mapped
    assert stacked(mapped)[0] is mapped
    assert isinstance(adapters.read(tmp_path / "x.npy"), np.memmap)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((9, 28, 28, 3), "(n, H, W, 3)"),
        ((9, 5, 7, 1), "(n, H, W, 1)"),
        ((9, 28, 28, 4), "(n, H, W, 4)"),
        ((9, 16, 28, 28, 1), "(n, D, H, W, 1)"),
        ((9, 3, 28, 28), None),
        ((9, 1, 28, 28), None),
        ((9, 64, 28, 28), None),
        ((9, 3, 5, 3), None),
        ((9, 4, 4, 4), None),
        ((9, 28, 3), None),
        ((9, 3), None),
        ((9, 1, 16, 28, 28), None),
    ],
)
def test_channels_last_are_noticed(shape, axes):
    wanted = axes and f"X looks like {axes}, channels last; give np.moveaxis(X, -1, 1)"
    assert looks_channels_last(shape) == wanted


# ---------------------------------------------------------------------- adapters


@pytest.mark.parametrize(
    ("shape", "dims", "inside"),
    [
        ((2, 5), None, (2, 5)),
        ((2, 5, 6), None, (2, 5, 6, 1)),
        ((2, 3, 5, 6), None, (2, 5, 6, 3)),
        ((2, 7), 1, (2, 7, 1)),
        ((2, 3, 7), 1, (2, 7, 3)),
        ((2, 5, 6), 2, (2, 5, 6, 1)),
        ((2, 3, 5, 6), 2, (2, 5, 6, 3)),
        ((2, 4, 5, 6), 3, (2, 4, 5, 6, 1)),
        ((2, 3, 4, 5, 6), 3, (2, 4, 5, 6, 3)),
    ],
)
def test_channels_there_and_back(shape, dims, inside):
    x = torch.arange(float(np.prod(shape))).reshape(shape)
    moved = adapters.channels_last(x, dims)
    assert moved.shape == inside
    assert moved.is_contiguous()
    assert torch.equal(adapters.channels_first(moved, len(shape), dims), x)


@pytest.mark.parametrize(("shape", "dims"), [((2, 5), 2), ((2, 5), 3), ((2, 3, 4, 5, 6), 2), ((2, 3, 4, 5), 1)])
def test_channels_refused(shape, dims):
    with pytest.raises(DataError, match=r"y must be \(n, \*positions\) or \(n, C, \*positions\)"):
        adapters.channels_last(torch.zeros(shape), dims, "y")


def test_a_folder_trains_a_model(tmp_path):
    for i in range(6):
        save(tmp_path / f"{i}.png", RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    model = Autoencoder(latent_dim=2, max_epochs=1, random_state=0).fit(tmp_path)
    assert model.reconstruct(str(tmp_path)).shape == (6, 3, 6, 5)
