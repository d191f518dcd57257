"""Bad signals, images, volumes and masks: each case another pair of argument and fault.

Each asserts that the message names the argument, what it was and what is allowed, that no training step ran, and
that the folder is as it was. Beside those of `test_bad_input` (tables) and `test_images` (files).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isthmus import (
    Autoencoder,
    BackboneEncoder,
    ConvDecoder,
    ConvEncoder,
    DeepSupervision,
    DenoisingAutoencoder,
    Dice,
    GaussianNoise,
    MLPEncoder,
    Segmenter,
    UNetDecoder,
    UNetEncoder,
)
from isthmus.augmentations import Elastic, Flip, Intensity
from isthmus.errors import IsthmusError
from isthmus.training.loop import Loop

Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)
X = RNG.integers(0, 255, (6, 16, 12), dtype=np.uint8)
MASKS = (X > 100).astype(int)
COLOUR = RNG.integers(0, 255, (6, 3, 16, 12), dtype=np.uint8)
SEVERAL = [X[0], X[1, :5]]
UNET = UNetEncoder((4, 6))
SIZES = "a whole number of at least"
UNITS = "1 to 3 axes of positions"


def segmenter(**params: Any) -> Segmenter:
    return Segmenter(**{"encoder": UNET, "max_epochs": 1, "random_state": 0} | params)


def denoiser(**params: Any) -> DenoisingAutoencoder:
    encoder = UNetEncoder((4, 6), global_residual=True)
    return DenoisingAutoencoder(**{"encoder": encoder, "max_epochs": 1, "random_state": 0} | params)


def segment(x: Any = X, y: Any = MASKS, /, *, validation_data: Any = None, **params: Any) -> Callable[[], Any]:
    return lambda: segmenter(**params).fit(x, y, validation_data=validation_data)


def denoise(x: Any = X, y: Any = None, /, **params: Any) -> Callable[[], Any]:
    return lambda: denoiser(**params).fit(x, y)


def encode(x: Any = X, /, **params: Any) -> Callable[[], Any]:
    return lambda: Autoencoder(**params).fit(x)


def unet(**changes: Any) -> Callable[[], Any]:
    return segment(encoder=UNetEncoder(**{"channels": (4, 6)} | changes))


def conv(**changes: Any) -> Callable[[], Any]:
    return encode(encoder=ConvEncoder(**{"channels": (4,)} | changes))


def with_nan(value: float = np.nan) -> np.ndarray:
    bad = X.astype(np.float32)
    bad[2, 3, 4] = value
    return bad


# name of the case: (what runs, what the message must hold: the argument, what it was, what is allowed)
TRAINING = {
    # layouts
    "X channels last": (encode(np.zeros((4, 16, 16, 3))), "X", "(n, H, W, 3)", "np.moveaxis(X, -1, 1)"),
    "X volumes last": (encode(np.zeros((4, 8, 9, 9, 1))), "X", "(n, D, H, W, 1)", "np.moveaxis(X, -1, 1)"),
    "X 4 axes as signals": (
        encode(np.zeros((4, 2, 3, 8)), encoder=ConvEncoder(dims=1)),
        "X must be (n, *positions) or (n, C, *positions) with 1 axes",
        "got shape (4, 2, 3, 8)",
    ),
    "X 3 axes as volumes": (
        encode(np.zeros((4, 3, 8)), encoder=ConvEncoder(dims=3)),
        "X must be (n, *positions) or (n, C, *positions) with 3 axes",
        "got shape (4, 3, 8)",
    ),
    "X a table to segment": (
        segment(np.zeros((9, 8)), np.zeros((9, 8))),
        "X must be signals, images or volumes",
        "(n, H, W)",
        "(9, 8)",
    ),
    "X a table to convolve": (encode(np.zeros((9, 8)), encoder="conv"), "conv encoder needs", UNITS, "(8,)"),
    "X a table for a U-Net": (denoise(np.zeros((9, 8))), "unet encoder needs", UNITS, "(8,)"),
    "X a volume for a backbone": (
        segment(COLOUR[:, :, np.newaxis], MASKS[:, np.newaxis], encoder=BackboneEncoder()),
        "backbone encoder needs 2 axes",
        "(None, None, None, 3)",
    ),
    "X two channels for a backbone": (
        segment(COLOUR[:, :2], encoder=BackboneEncoder()),
        "backbone encoder reads 1 or 3 channels",
        "got 2",
    ),
    # values
    "X NaN pixel": (segment(with_nan()), "X must be finite", "got NaN", "np.nan_to_num(X)"),
    "X infinite pixel": (denoise(with_nan(np.inf)), "X must be finite", "got infinity", "np.nan_to_num(X)"),
    # lists of several sizes
    "X[1] other channels": (denoise([X[0], COLOUR[0]]), "X[1] must have as many channels as X[0], (16, 12)", "got (3"),
    "X[1] empty": (denoise([X[0], X[0, :0]]), "X[1] must be numbers of shape (*positions)", "(0, 12)"),
    "X items of other axes": (denoise([X[0], X[0, 0]]), "X must be", "equally many axes", "got items of several"),
    "X objects": (
        denoise(np.array([X[0], X[1, :5]], dtype=object)),
        "X must be an array, or a list of pictures",
        "got items of several shapes",
    ),
    "X a list of paths": (denoise(["a.png", "b.png"]), "X must be an array or one path", "list of 2", "folder"),
    "X several sizes to flatten": (encode(SEVERAL), "conv encoder flattens maps of one size", "pool=None"),
    # files
    "X no image": (encode("text.png"), "X: cannot read text.png"),
    "X another suffix": (encode("photo.raw"), "X: a path must end in one of", ".png", "'photo.raw'"),
    "X no folder": (segment("none", "masks"), "X: no such file or folder: none"),
    "X empty folder": (segment("empty", "masks"), "X: the folder empty holds no images"),
    "X truncated": (encode("cut"), "X: cannot read cut/a.png", "truncated"),
    "X grey and colour": (encode("mixed"), "X: mixed/b.png is a colour image", "one kind"),
    "y no folder": (segment("images", "none"), "y: no such file or folder: none"),
    "y a folder that is missing": (segment(X, "none/"), "y: no such file or folder: none"),
    "y empty folder": (segment("images", "empty"), "y: the folder empty holds no images"),
    "y fewer masks": (segment("images", "fewer"), "y: no mask b.*", "images/b.png", "2 images, 1 masks"),
    "y names that do not pair": (segment("images", "others"), "y: no mask a.*", "images/a.png"),
    "y masks of another size": (segment("images", "small"), "y: small/b.png", "the image's size, (16, 12)", "(9, 12)"),
    "y masks in colour": (segment(X[:2], "mixed"), "y: mixed/b.png is in colour", "one channel or in a palette"),
    # masks
    "y none": (segment(X, None), "y must be the masks", "fit(images, masks)"),
    "y fewer": (segment(X, MASKS[:4]), "y must have a label for each position", "(6, 16, 12)", "got (4, 16, 12)"),
    "y smaller": (segment(X, MASKS[:, :9]), "y must have a label for each position", "(6, 16, 12)", "got (6, 9, 12)"),
    "y channels last": (segment(X, MASKS[..., None]), "y must have a label", "(6, 16, 12)", "got (6, 16, 12, 1)"),
    "y[1] of another size": (
        segment(SEVERAL, [MASKS[0], MASKS[1, :4]]),
        "y[1] must have the size of X[1], (5, 12)",
        "got (4, 12)",
    ),
    "y of one size for several": (segment(SEVERAL, [MASKS[0], MASKS[1]]), "y[1] must have the size of X[1], (5, 12)"),
    "y in another order": (
        segment(SEVERAL, [MASKS[1, :5], MASKS[0]]),
        "y[0] must have the size of X[0], (16, 12)",
        "got (5, 12)",
    ),
    "y fractions": (segment(X, MASKS * 0.5), "y must hold labels, whole numbers", "got 0.5"),
    "y NaN": (segment(X, MASKS * np.nan), "y must hold labels, whole numbers", "got nan"),
    "y infinite": (segment(X, np.where(MASKS, np.inf, 0)), "y must hold labels, whole numbers", "got inf"),
    "y text": (segment(X, MASKS.astype(str)), "y must hold labels, whole numbers", "got <U21"),
    "y one label": (segment(X, MASKS * 0), "y must hold at least 2 labels", "got [0]"),
    "y grey values": (
        segment(X, np.arange(X.size).reshape(X.shape)),
        "y must hold labels, at most 1000",
        "got 1152",
    ),
    "y several labels without their axis": (segment(multilabel=True), "y must be (n, L, *positions)", "(6, L, 16, 12)"),
    "y several labels of 255": (segment(X, MASKS[:, None] * 255, multilabel=True), "y must hold 0 and 1", "got [255]"),
    # validation data
    "validation_data without masks": (segment(validation_data=X), "validation_data: y must be the masks"),
    "validation_data of other labels": (
        segment(validation_data=(X, MASKS * 7)),
        "validation_data: y must hold the labels of training, [0, 1]",
        "got [7]",
    ),
    "validation_data of other channels": (
        segment(validation_data=(COLOUR, MASKS)),
        "validation_data: X must hold samples of shape (16, 12)",
        "got (3, 16, 12)",
    ),
    # clean pictures
    "clean size": (denoise(X, X[:, :5]), "y (the clean rows)", "X's shape (16, 12)", "got (5, 12)"),
    "clean channels": (denoise(X, COLOUR), "y (the clean rows)", "X's shape (16, 12)", "got (3, 16, 12)"),
    "clean[1] of another size": (denoise(SEVERAL, [X[0], X[1]]), "y[1] must have the size of X[1], (5, 12)", "got (16"),
    # patches, augmentations, tiles
    "patch_size zero": (segment(patch_size=0), "patch_size must be", f"{SIZES} 1", "got 0"),
    "patch_size text": (segment(patch_size="big"), "patch_size must be", f"{SIZES} 1", "got 'big'"),
    "patch_size of 3 axes": (segment(patch_size=(8, 8, 8)), "patch_size must have 2 lengths", "got (8, 8, 8)"),
    "patch_size of a table": (
        denoise(np.zeros((9, 4)), encoder="mlp", patch_size=8),
        "patch_size must be left out where rows are no pictures",
        "got 8",
    ),
    "patch_size for a flat code": (
        denoise(encoder=ConvEncoder((4,)), patch_size=8),
        "conv encoder flattens maps of one size",
        "pool=None or encoder='unet'",
    ),
    "augmentations unknown": (
        segment(augmentations=["mirror"]),
        "augmentations must be one of",
        "flip",
        "got 'mirror'",
    ),
    "augmentations a name": (segment(augmentations="flip"), "augmentations must be a list", "got 'flip'"),
    "augmentations another kind": (
        segment(augmentations=[GaussianNoise()]),
        "augmentations must be one of",
        "got GaussianNoise",
    ),
    "augmentations of a table": (
        denoise(np.zeros((9, 4)), encoder="mlp", augmentations=["flip"]),
        "augmentations must be left out where rows are no pictures",
        "got ['flip']",
    ),
    "augmentations of a signal": (
        segment(X[:, 0], MASKS[:, 0], encoder=UNetEncoder((4, 6), dims=1), augmentations=["quarter_turn"]),
        "QuarterTurn needs two axes of positions",
        "(12, 1)",
    ),
    "strength negative": (segment(augmentations=[Elastic(-1.0)]), "strength must be a number in [0, inf)", "got -1.0"),
    "p above one": (segment(augmentations=[Flip(1.5)]), "p must be a number in [0, 1]", "got 1.5"),
    "gain above one": (segment(augmentations=[Intensity(gain=2.0)]), "gain must be a number in [0, 1]", "got 2.0"),
    "tile_size below 8": (segment(tile_size=4), "tile_size must be", f"{SIZES} 8", "got 4"),
    "tile_size text": (segment(tile_size="large"), "tile_size must be", "'auto'", "got 'large'"),
    "tile_size of 3 axes": (segment(tile_size=(8, 8, 8)), "tile_size must have 2 lengths", "got (8, 8, 8)"),
    "test_time_augmentation a number": (
        segment(test_time_augmentation=8),
        "test_time_augmentation must be True or False",
        "got 8",
    ),
    "batch_size one of one position": (
        segment(X[:, :2, :2], MASKS[:, :2, :2], batch_size=1),
        "batch_size must be at least 2 for normalization='batch'",
        "(2, 2)",
        "got 1",
    ),
    "batch_size one of one-position patches": (segment(patch_size=2, batch_size=1), "batch_size must be", "got 1"),
    "batch_size one of one position by instance": (
        encode(X[:, :2, :2], encoder=ConvEncoder((4,), normalization="instance"), batch_size=1),
        "batch_size must be at least 2 for normalization='batch' or 'instance'",
    ),
    "batch_size one without positions": (
        encode(encoder=MLPEncoder((4,), normalization="batch"), batch_size=1),
        "batch_size must be at least 2",
        "got 1",
    ),
    # labels
    "multilabel a number": (segment(multilabel=1), "multilabel must be True or False", "got 1"),
    "ignore_label fraction": (segment(ignore_label=0.5), "ignore_label must be None or a whole number", "got 0.5"),
    "ignore_label all but one": (segment(ignore_label=1), "y must hold at least 2 labels", "got [0]"),
    "ignore_label of several": (
        segment(X, MASKS[:, None], multilabel=True, ignore_label=9),
        "ignore_label must be None where multilabel=True",
        "got 9",
    ),
    "class_weight unknown label": (segment(class_weight={7: 2.0}), "class_weight must be", "[0, 1]", "got [7]"),
    "class_weight negative": (segment(class_weight={1: -2.0}), "class_weight must be", "at least 0", "got {1: -2.0}"),
    "class_weight text": (segment(class_weight={1: "a"}), "class_weight must be", "number", "got {1: 'a'}"),
    "class_weight list": (segment(class_weight=[1, 2]), "class_weight must be", "a dict of label", "got [1, 2]"),
    "class_weight name": (segment(class_weight="heavy"), "class_weight must be", "'balanced'", "got 'heavy'"),
    "class_weight beside a loss": (
        segment(class_weight="balanced", loss=Dice()),
        "class_weight must be None unless loss='auto'",
        "got 'balanced'",
    ),
    "class_weight of several": (
        segment(X, MASKS[:, None], multilabel=True, class_weight="balanced"),
        "class_weight must be None where multilabel=True",
        "got 'balanced'",
    ),
    "loss of numbers": (segment(loss="squared_error"), "loss must be", "'cross_entropy'", "got 'squared_error'"),
    "loss of labels": (denoise(loss="cross_entropy"), "cross_entropy needs a target of classes", "got real ones"),
    # parts
    "channels a number": (unet(channels=8), "channels must be a sequence of whole numbers", "got 8"),
    "channels one level": (unet(channels=(8,)), "channels must have at least 2 levels", "got (8,)"),
    "channels none": (conv(channels=()), "channels must be a sequence of at least one", "got ()"),
    "channels zero": (
        conv(channels=(4, 0)),
        "channels must be a sequence of whole numbers of at least 1",
        "got (4, 0)",
    ),
    "channels text": (conv(channels="big"), "channels must be a sequence of whole numbers", "got 'big'"),
    "kernel_size even": (conv(kernel_size=4), "kernel_size must be an odd whole number", "got 4"),
    "stride zero": (conv(stride=0), f"stride must be {SIZES} 1", "got 0"),
    "normalization unknown": (unet(normalization="layer"), "normalization must be", "'instance'", "got 'layer'"),
    "activation unknown": (conv(activation="swish"), "activation must be one of", "'silu'", "got 'swish'"),
    "pool unknown": (conv(pool="max"), "pool must be None or one of 'flatten', 'mean'", "got 'max'"),
    "residual_blocks negative": (conv(residual_blocks=-1), f"residual_blocks must be {SIZES} 0", "got -1"),
    "dims four": (conv(dims=4), "dims must be None or 1 (signals), 2 (images) or 3 (volumes)", "got 4"),
    "blocks zero": (unet(blocks=0), f"blocks must be {SIZES} 1", "got 0"),
    "residual text": (unet(residual="yes"), "residual must be True or False", "got 'yes'"),
    "downsampling unknown": (unet(downsampling="mean"), "downsampling must be one of 'conv', 'max'", "got 'mean'"),
    "attention_heads that do not divide": (unet(attention_heads=4), "attention_heads must divide", "6", "got 4"),
    "spacing one of two": (unet(spacing=(1.0,)), "spacing must have 2 numbers, one an axis", "got (1.0,)"),
    "spacing negative": (unet(spacing=(1.0, -1.0)), "spacing must be", "numbers above 0", "got (1.0, -1.0)"),
    "spacing a number": (unet(spacing=2.0), "spacing must be", "one an axis", "got 2.0"),
    "global_residual of masks": (unet(global_residual=True), "global_residual", "equally many channels", "got 1 and 2"),
    "network unknown": (
        segment(encoder=BackboneEncoder("resnet19")),
        "network must be one of 'resnet18', 'resnet34'",
        "got 'resnet19'",
    ),
    "weights missing": (
        segment(encoder=BackboneEncoder(weights="none.safetensors")),
        "weights: cannot read none.safetensors",
    ),
    "upsampling unknown": (
        segment(decoder=UNetDecoder((4,), upsampling="bilinear")),
        "upsampling must be one of 'transposed', 'resize'",
        "got 'bilinear'",
    ),
    "merge unknown": (
        segment(decoder=UNetDecoder((4,), merge="mean")),
        "merge must be one of 'concat', 'add'",
        "'mean'",
    ),
    "decoder of more levels": (
        segment(decoder=UNetDecoder((6, 4))),
        "unet decoder expects 2 skips",
        "encoder gives 1",
    ),
    "decoder without skips": (
        segment(decoder=ConvDecoder((4,))),
        "conv decoder expects 0 skips",
        "encoder gives 1",
    ),
    "deep_supervision without its loss": (
        segment(decoder=UNetDecoder((4,), deep_supervision=2)),
        "deep_supervision=2 needs loss=DeepSupervision(..., levels=the same)",
        "got 2 output channels and 1 levels",
    ),
    "deep_supervision's loss alone": (
        segment(loss=DeepSupervision(levels=2)),
        "loss: levels of DeepSupervision must be the decoder's deep_supervision, 1",
        "got 2",
    ),
    "latent_dim of a U-Net": (segment(latent_dim=3), "latent_dim must be 'auto' or 6", "got 3"),
    "std reversed": (
        denoise(corruption=GaussianNoise((0.2, 0.1))),
        "std must be",
        "0 <= low <= high",
        "got (0.2, 0.1)",
    ),
}


@cache
def fitted_(colour: bool) -> Segmenter:
    return segmenter().fit(COLOUR if colour else X, MASKS)


def fitted(colour: bool = False, **params: Any) -> Segmenter:
    return copy.deepcopy(fitted_(colour)).set_params(**params)


FITTED = {
    "predict colour": (lambda: fitted().predict(COLOUR), "X must hold samples of shape (any, any)", "got (3, 16, 12)"),
    "predict grey": (lambda: fitted(True).predict(X), "X must hold samples of shape (3, any, any)", "got (16, 12)"),
    "predict channels last": (
        lambda: fitted(True).predict(np.moveaxis(COLOUR, 1, -1)),
        "X looks like (n, H, W, 3)",
        "np.moveaxis(X, -1, 1)",
    ),
    "predict one without its axis": (lambda: fitted().predict(X[0]), "X must hold samples of shape (any", "got (12,)"),
    "predict NaN": (lambda: fitted().predict(with_nan()), "X must be finite", "got NaN"),
    "predict a list of both": (lambda: fitted().predict([X[0], COLOUR[0]]), "X must hold samples", "got (3, 16, 12)"),
    "predict a missing file": (lambda: fitted().predict("none.png"), "X: no such file or folder: none.png"),
    "predict with tile_size zero": (lambda: fitted(tile_size=0).predict(X), "tile_size must be", "got 0"),
    "predict with tile_size of 3 axes": (
        lambda: fitted(tile_size=(8, 8, 8)).predict(X),
        "tile_size must have 2",
        "got",
    ),
    "score without masks": (lambda: fitted().score(X), "y must be the masks", "score(images, masks)"),
    "score fewer masks": (lambda: fitted().score(X, MASKS[:5]), "y must hold a mask for each of 6", "got 5"),
    "score smaller masks": (lambda: fitted().score(X, MASKS[:, :5]), "y[0] must have a label", "(16, 12)", "(5, 12)"),
    "score other labels": (lambda: fitted().score(X, MASKS * 7), "y[0] must hold the labels", "[0, 1]", "got [7]"),
    "score fractions": (lambda: fitted().score(X, MASKS * 0.5), "y[0] must hold the labels", "[0, 1]", "got [0.5]"),
    "reconstruct": (lambda: fitted().reconstruct(X), "Segmenter predicts labels", "predict_proba"),
    "sample": (lambda: fitted().sample(1), "sample needs the code alone", "UNetEncoder"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with images and masks in it; afterwards it must hold the same bytes."""
    grey, colour = X[0], np.moveaxis(COLOUR[0], 0, -1)
    for name, files in {
        "images": {"a": grey, "b": grey},
        "masks": {"a": grey > 9, "b": grey > 9},
        "fewer": {"a": grey > 9},
        "others": {"k": grey > 9, "l": grey > 9},
        "small": {"a": grey > 9, "b": grey[:9] > 9},
        "mixed": {"a": grey, "b": colour},
        "cut": {"a": grey},
        "empty": {},
    }.items():
        (tmp_path / name).mkdir()
        for stem, array in files.items():
            Image.fromarray(array).save(tmp_path / name / f"{stem}.png")
    cut = tmp_path / "cut" / "a.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    (tmp_path / "text.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)

    def found() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = found()
    yield tmp_path
    assert found() == before


def refused(call: Callable[[], Any], texts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_step(self: Loop) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(Loop, "run", no_step)
    with pytest.raises(IsthmusError) as caught:
        call()
    message = str(caught.value)
    assert not [text for text in texts if text not in message], message
    assert "\n" not in message


@pytest.mark.parametrize("case", TRAINING)
def test_refused_before_training(case, folder, monkeypatch):
    call, *texts = TRAINING[case]
    refused(call, tuple(texts), monkeypatch)


@pytest.mark.parametrize("case", FITTED)
def test_refused_after_training(case, folder, monkeypatch):
    fitted(), fitted(True)
    call, *texts = FITTED[case]
    refused(call, tuple(texts), monkeypatch)


def test_an_error_in_prediction_leaves_gradients_on():
    with pytest.raises(IsthmusError) as caught:  # whose traceback keeps the frames alive
        fitted(tile_size=0).predict(X)
    assert caught.tb
    assert torch.is_grad_enabled()


def test_what_is_no_fault():
    absent = segmenter(ignore_label=9).fit(X, MASKS)  # as in a validation set without it
    assert absent.classes_.tolist() == [0, 1]
    assert absent.score(X, MASKS[:, None]) == absent.score(X, MASKS)
    small = segmenter(patch_size=32).fit(X, MASKS)  # pictures smaller than a patch are padded
    assert small.predict(X[:, :3, :2]).shape == (6, 3, 2)
    assert segmenter(batch_size=2).fit(X[:, :1, :1], np.arange(6).reshape(6, 1, 1) % 2).classes_.tolist() == [0, 1]


def test_enough_cases():
    assert len(TRAINING) + len(FITTED) >= 25
