"""Each measure by hand, against the libraries, and where it has no value of its own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, zero_one_loss

from isthmus.errors import DataError, ParameterError
from isthmus.metrics import boundary_f1, dice, edits, error_rate, iou, pixel_error, psnr, ssim

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 3, (4, 12, 9))
PRED = np.where(RNG.random(TRUE.shape) < 0.7, TRUE, RNG.integers(0, 3, TRUE.shape))
PICTURES = RNG.random((3, 24, 30))
NOISY = PICTURES + RNG.normal(0, 0.1, PICTURES.shape)
ON_LABELS = [dice, iou, boundary_f1, pixel_error]


def image(*rows: str) -> np.ndarray:
    """Digits as labels, one image."""
    return np.array([[[int(label) for label in row] for row in rows]])


# ---------------------------------------------------------------------- pictures


def test_psnr_by_hand():
    # off by 1 everywhere, of 10: 10 log10(100 / 1) = 20 dB; off by 0.1: 40 dB; their mean is 30
    truth = np.zeros((2, 4, 4))
    assert psnr(truth, truth + np.array([1, 0.1])[:, None, None], data_range=10) == pytest.approx(30)


def test_psnr_of_bytes_neither_wraps_nor_needs_a_range():
    black, white = np.zeros((1, 3, 3), np.uint8), np.full((1, 3, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == 0
    assert psnr(black.astype(np.uint16), black + np.uint16(65535)) == 0


def test_psnr_of_equal_images_is_infinite():
    assert psnr(PICTURES, PICTURES, 1.0) == np.inf


def test_psnr_agrees_with_scikit_image():
    theirs = pytest.importorskip("skimage.metrics").peak_signal_noise_ratio
    expected = np.mean([theirs(a, b, data_range=2.0) for a, b in zip(PICTURES, NOISY, strict=True)])
    assert psnr(PICTURES, NOISY, 2.0) == pytest.approx(expected, rel=1e-12)


def test_ssim_by_hand():
    # two flat images: the structure's term is C2 / C2 = 1, so (2 ab + C1) / (a² + b² + C1)
    pytest.importorskip("skimage")
    a, b, C1 = 0.5, 0.25, 0.01**2
    flat = np.ones((1, 11, 11))
    assert ssim(a * flat, b * flat, 1.0) == pytest.approx((2 * a * b + C1) / (a * a + b * b + C1))
    assert ssim(PICTURES, PICTURES, 1.0) == pytest.approx(1)


def test_ssim_against_a_window_written_out():
    pytest.importorskip("skimage")
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(line, line) / np.sum(line) ** 2
    views = [np.lib.stride_tricks.sliding_window_view(p[0], (11, 11)) for p in (PICTURES, NOISY)]
    x, y = views
    mean_x, mean_y = (np.sum(v * window, axis=(-2, -1)) for v in views)
    var_x, var_y = np.sum(x * x * window, (-2, -1)) - mean_x**2, np.sum(y * y * window, (-2, -1)) - mean_y**2
    both = np.sum(x * y * window, (-2, -1)) - mean_x * mean_y
    C1, C2 = 0.01**2, 0.03**2
    values = (2 * mean_x * mean_y + C1) * (2 * both + C2) / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))
    assert ssim(PICTURES[:1], NOISY[:1], 1.0) == pytest.approx(values.mean(), rel=1e-9)


def test_ssim_of_colour_is_the_mean_over_channels():
    pytest.importorskip("skimage")
    one = ssim(PICTURES[None], NOISY[None], 1.0)
    assert one == pytest.approx(ssim(PICTURES, NOISY, 1.0))
    assert ssim(np.ones((1, 12, 12, 12)), np.ones((1, 12, 12, 12)), 1.0, dims=3) == pytest.approx(1)


# ---------------------------------------------------------------------- labels


def test_overlap_by_hand():
    # 4 positions in truth, 3 predicted, 2 in both, 5 in either
    true, pred = image("1100", "1100"), image("0110", "0100")
    assert dice(true, pred) == 2 * 2 / (4 + 3)
    assert iou(true, pred) == 2 / 5
    assert pixel_error(true, pred) == 3 / 8


def test_images_count_alike_whatever_they_hold():
    true = np.concatenate([image("1111"), image("1000")])
    pred = np.concatenate([image("1111"), image("0001")])
    assert dice(true, pred) == iou(true, pred) == 0.5
    assert pixel_error(true, pred) == 0.25


def test_several_labels_by_hand():
    true, pred = image("0122"), image("0112")
    # label 1: 1 in both of 1 and 2; label 2: 1 in both of 2 and 1
    assert dice(true, pred, labels=(1, 2)) == (2 / 3 + 2 / 3) / 2
    assert iou(true, pred, labels=(0, 1, 2)) == (1 + 1 / 2 + 1 / 2) / 3


def test_ignored_positions_do_not_count():
    true, pred = np.array([[[1, 1, 255, 255]]]), np.array([[[1, 0, 1, 0]]])
    assert dice(true, pred, ignore_label=255) == 2 / 3
    assert iou(true, pred, ignore_label=255) == 1 / 2
    assert pixel_error(true, pred, ignore_label=255) == 1 / 2
    assert pixel_error(true * 0 + 255, pred, ignore_label=255) == 0


@pytest.mark.parametrize("labels", [(1,), (0, 1, 2)])
def test_overlap_agrees_with_scikit_learn(labels):
    for ours, theirs in ((dice, f1_score), (iou, jaccard_score)):
        options = {"labels": list(labels), "average": "macro", "zero_division": 1.0}
        expected = np.mean([theirs(t.ravel(), p.ravel(), **options) for t, p in zip(TRUE, PRED, strict=True)])
        assert ours(TRUE, PRED, labels) == pytest.approx(expected, rel=1e-12)


def test_pixel_error_agrees_with_scikit_learn():
    assert pixel_error(TRUE, PRED) == pytest.approx(zero_one_loss(TRUE.ravel(), PRED.ravel()), rel=1e-12)


@pytest.mark.parametrize("measure", [dice, iou, boundary_f1])
def test_both_empty_is_one_and_one_empty_is_none(measure):
    none, some = image("000", "000", "000"), image("000", "010", "000")
    assert measure(none, none) == 1
    assert measure(some, none) == measure(none, some) == 0


@pytest.mark.parametrize("measure", ON_LABELS)
def test_equal_labels_in_two_and_three_axes_and_bool(measure):
    best = 0 if measure is pixel_error else 1
    assert measure(TRUE, TRUE) == best
    assert measure(TRUE[None], TRUE[None]) == best
    assert measure(TRUE > 0, TRUE > 0) == best


@pytest.mark.parametrize("measure", [*ON_LABELS, lambda t, p: psnr(t, p, 3)])
def test_images_of_unequal_sizes(measure):
    unequal = [TRUE[0], TRUE[1, :5]], [PRED[0], PRED[1, :5]]
    assert measure(*unequal) == pytest.approx(np.mean([measure([t], [p]) for t, p in zip(*unequal, strict=True)]))


# ---------------------------------------------------------------------- boundaries


def test_boundary_f1_by_hand():
    # a column of 5 on either side: the boundary is the column; moved by 2 none is within 1, all are within 2
    true, pred = image(*["0100000"] * 5), image(*["0001000"] * 5)
    assert boundary_f1(true, pred, tolerance=1) == 0
    assert boundary_f1(true, pred, tolerance=2) == 1


def test_boundary_f1_with_precision_and_recall_apart():
    # 4 predicted points, 2 of them right; 2 true points, both found: P = 1/2, R = 1
    true, pred = image("1000001", "0000000", "0000000"), image("1000001", "0000000", "1000001")
    assert boundary_f1(true, pred, tolerance=1) == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_an_edge_of_the_image_is_no_boundary():
    # the left half's boundary is one column, whatever touches the edge
    true, pred = image(*["111000"] * 4), image(*["111000"] * 3 + ["110000"])
    assert boundary_f1(true, true, tolerance=0) == 1
    # predicted: (0..2, 2), since (2, 2) borders below too, and (3, 1): of 4 points 3 are right, of 4 true 3 found
    assert boundary_f1(true, pred, tolerance=0) == pytest.approx(3 / 4)
    assert boundary_f1(image("111", "111"), image("111", "111")) == 1


def test_boundary_f1_against_all_distances():
    inner = pytest.importorskip("skimage.segmentation").find_boundaries
    expected = []
    for true, pred in zip(TRUE, PRED, strict=True):
        a, b = (np.argwhere(inner(x == 1, mode="inner") & (x == 1)) for x in (true, pred))
        apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
        P, R = (apart.min(0) <= 1).mean(), (apart.min(1) <= 1).mean()
        expected.append(2 * P * R / (P + R))
    assert boundary_f1(TRUE, PRED, tolerance=1) == pytest.approx(np.mean(expected), rel=1e-12)


# ---------------------------------------------------------------------- what is refused

BAD = {
    "counts": (lambda: dice(TRUE, PRED[:3]), "as many images, at least 1, got 4 and 3"),
    "none": (lambda: psnr(PICTURES[:0], PICTURES[:0], 1.0), "at least 1, got 0 and 0"),
    "shapes": (lambda: iou(TRUE, PRED[:, :5]), r"y_pred\[0\] must have y_true's shape.*\(12, 9\), got \(5, 9\)"),
    "one of a list": (lambda: psnr([PICTURES[0]] * 2, [PICTURES[0], PICTURES[0].T], 1.0), r"y_pred\[1\] must have"),
    "empty axis": (lambda: pixel_error(TRUE[:, :0], PRED[:, :0]), "not empty"),
    "probabilities": (lambda: dice(TRUE, PRED / 2), r"y_pred\[0\] must be labels, whole numbers.*float64"),
    "one number": (lambda: boundary_f1(TRUE[:, 0, 0], PRED[:, 0, 0]), r"y_true\[0\] must be labels.*\(H, W\).*\(\)"),
    "small": (lambda: ssim(PICTURES[:, :10], NOISY[:, :10], 1.0), "ssim needs images of at least 11 a side"),
    "no range": (lambda: psnr(PICTURES, NOISY), "data_range must be given for float64"),
    "bad range": (lambda: ssim(PICTURES, NOISY, 0), "data_range must be a number above 0, got 0"),
    "NaN range": (lambda: psnr(PICTURES, NOISY, float("nan")), "data_range must be"),
    "tolerance": (lambda: boundary_f1(TRUE, PRED, tolerance=-1), "tolerance must be a number of at least 0, got -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case):
    call, message = BAD[case]
    with pytest.raises((DataError, ParameterError), match=message):
        call()


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.metrics", None)
    with pytest.raises(DataError, match=r"ssim needs scikit-image: pip install 'isthmus\[images\]'"):
        ssim(PICTURES, NOISY, 1.0)


# ---------------------------------------------------------------------- texts


def test_error_rate_by_hand():
    # kitten → sitting: two substitutions and one insertion, over 6 letters; the second pair is right
    assert error_rate(["kitten"], ["sitting"]) == 3 / 6
    assert error_rate(["kitten", "abc"], ["sitting", "abc"]) == 3 / 9
    assert error_rate([["HH", "AH"], []], [[], ["T", "T", "T"]]) == 5 / 2  # more than all is wrong


def test_error_rate_agrees_with_jiwer():
    jiwer = pytest.importorskip("jiwer")
    texts = [[" ".join(RNG.choice(list("abcd"), RNG.integers(1, 9))) for _ in range(50)] for _ in range(2)]
    mine = error_rate(*([text.split() for text in side] for side in texts))
    assert mine == pytest.approx(jiwer.wer(*texts), rel=1e-12)


def test_edits_are_as_many_as_the_distance():
    assert edits("abc", "xbcd") == [(0, 0), (1, 1), (2, 2), (None, 3)]
    assert edits("abc", "c") == [(0, None), (1, None), (2, 0)]
    for _ in range(20):
        true, pred = ("".join(RNG.choice(list("ab"), RNG.integers(1, 8))) for _ in range(2))
        way = edits(true, pred)
        assert [i for i, _ in way if i is not None] == list(range(len(true)))
        assert [j for _, j in way if j is not None] == list(range(len(pred)))
        wrong = sum(i is None or j is None or true[i] != pred[j] for i, j in way)
        assert wrong == round(error_rate([true], [pred]) * len(true))


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (("ab", ["ab"]), "a text and list"),
        ((["ab"], []), "got 1 and 0"),
        (([""], ["a"]), "at least one piece"),
        ((iter(["ab"]), ["ab"]), "got list_iterator and list"),
        ((["ab"], [None]), r"found\[0\] must be a text or a list of pieces, got NoneType"),
    ],
)
def test_texts_that_cannot_be_held_together(pair, complaint):
    with pytest.raises(DataError, match=complaint):
        error_rate(*pair)
