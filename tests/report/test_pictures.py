"""Reports on models of pictures: masks, restored pictures, feature maps, walks; rows of several sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus import metrics
from isthmus.errors import DataError
from isthmus.report import Picture, Subject, Table, build_sections
from isthmus.report.draw import Strip, strips
from isthmus.report.layout import tiles
from isthmus.report.plots import style
from isthmus.report.rows import at_most
from isthmus.report.sections.denoising import denoising
from isthmus.report.sections.features import _levels, features
from isthmus.report.sections.masks import _errors, masks
from isthmus.report.sections.walk import _along, walk
from isthmus.report.segmentation import Segmentation


def subject_of(trained, name, rows=None, y=None):
    model, given, labels = trained[name]
    return Subject(model, given if rows is None else rows, labels if rows is None else y)


def table_of(section):
    return next(block for block in section.blocks if isinstance(block, Table))


# ---------------------------------------------------------------------- masks


def test_the_figures_of_the_masks_are_the_models(trained):
    model, rows, truth = trained["masks"]
    subject = subject_of(trained, "masks")
    with style():
        table = table_of(masks(subject))
    found = model.predict(rows)
    assert [row[0] for row in table.rows] == ["0", "255", "mean"]
    dice, iou, boundary = (float(cell) for cell in table.rows[1][1:])
    assert dice == pytest.approx(metrics.dice(truth, found, 255), rel=1e-3)
    assert iou == pytest.approx(metrics.iou(truth, found, 255), rel=1e-3)
    assert boundary == pytest.approx(metrics.boundary_f1(truth, found, 255), rel=1e-3)
    assert f"{100 * metrics.pixel_error(truth, found):.3g} % of the positions" in table.caption
    assert Segmentation(subject).dice.mean() == pytest.approx(model.score(rows, truth))


def test_errors_have_a_colour_each():
    true = [np.array([[[1, 1, 0, 0]]], bool)[0][np.newaxis]]
    found = [np.array([[[1, 0, 1, 0]]], bool)[0][np.newaxis]]
    grey = np.ones((1, 1, 4, 3))
    right, missed, false, empty = _errors(grey, true, found, np.ones((1, 1, 4), bool))[0, 0]
    np.testing.assert_array_equal(right, 1)
    np.testing.assert_array_equal(empty, 1)
    assert false[0] > false[2]  # orange
    assert missed[2] > missed[0]  # blue
    nothing = _errors(grey, true, found, np.zeros((1, 1, 4), bool))
    np.testing.assert_array_equal(nothing, 1)  # positions that do not count have no error


def test_pictures_of_several_sizes_have_masks_and_no_section_about_a_code(trained):
    model, rows, truth = trained["masks"]
    sizes = [(14, 16), (12, 16), (13, 15)]
    some = [[array[place][:h, :w] for place, (h, w) in enumerate(sizes)] for array in (rows, truth)]
    with style():
        keys = [section.key for section in build_sections(Subject(model, *some))]
        without = masks(Subject(model, some[0]))
    assert keys == ["summary", "learning", "masks", "features", "provenance"]
    assert [type(block) for block in without.blocks] == [Picture]


def test_folders_of_images_and_masks_are_read_in_pairs(trained, tmp_path):
    model, rows, truth = trained["masks"]
    for kind, arrays in (("images", rows), ("masks", truth)):
        (tmp_path / kind).mkdir()
        for place in range(3):
            Image.fromarray(arrays[place].astype(np.uint8)).save(tmp_path / kind / f"{place}.png")
    subject = Subject(model, tmp_path / "images", tmp_path / "masks")
    np.testing.assert_array_equal(subject.rows, rows[:3])
    np.testing.assert_array_equal(subject.masks, truth[:3])


def test_masks_of_another_size_or_number_are_refused(trained):
    model, rows, truth = trained["masks"]
    with pytest.raises(DataError, match=r"y must hold masks of the pictures' sizes, got \(13, 16\)"):
        Subject(model, rows, truth[:, 1:])
    with pytest.raises(DataError, match="y must be masks, one a picture"):
        Subject(model, rows, truth[1:])


# ---------------------------------------------------------------------- restored pictures


def test_psnr_of_damaged_and_restored_pictures(trained):
    model, noisy, clean = trained["unet"]
    with style():
        table = table_of(denoising(subject_of(trained, "unet")))
    assert table.head == ("pictures", "PSNR, dB")  # 8 × 8 pictures are smaller than SSIM's window
    wanted = [metrics.psnr(clean, rows, 1.0) for rows in (noisy, model.reconstruct(noisy))]
    assert [row[1] for row in table.rows] == [f"{value:.2f}" for value in wanted]


def test_larger_pictures_have_ssim_and_may_have_several_sizes(trained):
    pytest.importorskip("skimage")
    model = trained["unet"][0]
    clean = [rows / 255 for rows in trained["masks"][1][:4]]
    clean[1] = clean[1][:12]
    noisy = [rows + 0.1 for rows in clean]
    with style():
        table = table_of(denoising(Subject(model, noisy, clean)))
    assert table.head == ("pictures", "PSNR, dB", "SSIM")
    assert table.rows[0][1:] == ["20.00", f"{metrics.ssim(clean, noisy, 1.0):.4f}"]


def test_the_range_of_clean_bytes_is_255_and_each_picture_has_its_psnr_above(trained):
    model, clean = trained["unet"][0], (trained["masks"][1][:4] * 0.5).astype(np.uint8)  # 0 and 127
    noisy = clean + np.float32(25.5)
    with style():
        section = denoising(Subject(model, noisy, clean))
    assert table_of(section).rows[0][1] == "20.00"
    picture = next(block for block in section.blocks if isinstance(block, Picture))
    heads = [label.get_text() for label in picture.figure.axes[-1].get_xticklabels()]
    assert len(heads) == 4
    assert all(head.startswith("20.0 → ") for head in heads)


# ---------------------------------------------------------------------- filters, maps, walks


def test_feature_maps_are_the_encoders_level_by_level(trained):
    subject = subject_of(trained, "conv")
    encoder = subject.module.encoder
    found = _levels(subject, 7)
    assert [maps.shape for maps in found] == [(4, 4, 4), (8, 2, 2)]
    with torch.no_grad():
        scaled = subject.module.scale(torch.from_numpy(subject.rows[7:8, np.newaxis]))[0]
        wanted = encoder.levels(scaled)
    np.testing.assert_allclose(found[-1], wanted[0].numpy(), rtol=1e-5, atol=1e-6)
    assert features(subject_of(trained, "vanilla")) is None


def test_a_walk_without_a_prior_stays_within_what_a_unit_takes(trained):
    subject = subject_of(trained, "conv")
    codes = _along(subject, 1, np.array([-50.0, 0.0, 1.0]))
    values = subject.codes[:, 1].astype(float)
    np.testing.assert_allclose(codes[:, 0], subject.codes[:, 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(codes[:, 1], [values.min(), values.mean(), values.mean() + values.std()], rtol=1e-4)
    assert walk(subject_of(trained, "unet")) is None


# ---------------------------------------------------------------------- rows


def test_a_large_set_of_pictures_is_thinned_and_a_table_is_not(trained):
    assert at_most(np.empty((10_000, 28, 28), np.uint8)) == 2674
    assert at_most(np.empty((30, 512, 512), np.uint8)) == 16
    assert at_most(np.empty((10_000, 784), np.uint8)) == 10_000
    model, rows, labels = trained["conv"]
    subject = Subject(model, np.tile(rows, (300, 1, 1)), np.tile(labels, 300))
    assert (len(subject), subject.total) == (32_768, 36_000)
    np.testing.assert_array_equal(subject.labels.codes, np.tile(labels, 300)[subject.index])


def test_pictures_of_several_sizes_lie_in_the_middle_of_the_largest():
    pictures = tiles([np.ones((1, 3)), np.ones((3, 1))], (3, 3))
    np.testing.assert_array_equal(np.isnan(pictures).sum((1, 2)), [6, 6])
    np.testing.assert_array_equal(pictures[:, 1, 1], [1, 1])


def test_a_volume_is_shown_by_its_middle_slice():
    volumes = np.arange(2 * 5 * 4 * 4).reshape(2, 5, 4, 4)
    np.testing.assert_array_equal(tiles(volumes, (4, 4), positions=3), volumes[:, 2])
    np.testing.assert_array_equal(tiles(volumes, (4, 4), positions=2), volumes[:, 0])


def test_strips_keep_to_their_line():
    images = np.random.default_rng(0).random((3, 8, 8))
    with style():
        figure = strips([Strip("one", images), Strip("two", images - 0.5, signed=True, bar="units")], ["a", "b", "c"])
    first, second = (panel.get_position() for panel in (figure.axes[-1], figure.axes[0]))
    assert (first.x0, first.x1) == (second.x0, second.x1)
    assert first.y0 > second.y1
