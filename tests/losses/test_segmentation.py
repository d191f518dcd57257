"""Losses of labels: by hand, against PyTorch's own, and what must not count."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F

from isthmus import Autoencoder, spec
from isthmus.errors import ParameterError, ShapeError
from isthmus.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    GaussianNLL,
    PoissonNLL,
    SquaredError,
    SumLoss,
    Tversky,
)
from isthmus.training.rng import seeded_noise
from isthmus.types import Space
from toys import randn

CLASSES = Space((4, 5), classes=3)
OUTPUT, LABELS = randn(2, 4, 5, 3), torch.randint(3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
ONES = (randn(2, 4, 5, 3, seed=2) > 0).double()  # a multi-label target: three channels of zeros and ones
MASK = randn(2, 4, 5, seed=3) > -0.5
WEIGHTS = (0.5, 2.0, 1.5)
ON_CLASSES = [
    CrossEntropy(),
    CrossEntropy(WEIGHTS, label_smoothing=0.1, per="position"),
    CrossEntropy(ignore_label=1),
    Focal(),
    Focal(0.5, WEIGHTS, ignore_label=1, per="position"),
    Dice(),
    Dice(0.1, include_background=False, ignore_label=1, squared=True),
    Tversky(),
    Tversky(0.6, 1.2, 0.1, include_background=False, ignore_label=1),
    SumLoss(),
    SumLoss([Dice(), CrossEntropy(WEIGHTS)], [2.0, 0.5]),
]
ON_ONES = [Focal(), Focal(0.5, WEIGHTS, per="position"), Dice(), Dice(squared=True), Tversky()]
on_classes = pytest.mark.parametrize("loss", ON_CLASSES, ids=repr)
on_ones = pytest.mark.parametrize("loss", ON_ONES, ids=repr)


def built(loss, space=CLASSES):
    return spec.clone(loss).build(space)


def certain(labels, classes, scale=100.0):
    """Logits of a network that is sure of these labels: p is 1 to the last bit of float64."""
    return scale * F.one_hot(labels, classes).double()


# ---------------------------------------------------------------------- by hand

# two positions; p is 0.5 for the class of the first, 0.8 for that of the second
PAIR, PAIR_LABELS = (
    torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]], dtype=torch.float64).log(),
    torch.tensor([[0, 1]]),
)
# four positions, sure of 0 0 1 1, where 0 1 1 1 is true.   class 0: Σpt 1, Σp 2, Σt 1;   class 1: Σpt 2, Σp 2, Σt 3
SURE, TRUE = certain(torch.tensor([[0, 0, 1, 1]]), 2), torch.tensor([[0, 1, 1, 1]])
ln2, ln125 = math.log(2), math.log(1.25)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CrossEntropy(), ln2 + ln125),
        (CrossEntropy(per="position"), (ln2 + ln125) / 2),
        (CrossEntropy((3.0, 10.0, 0.0)), 3 * ln2 + 10 * ln125),
        (CrossEntropy(ignore_label=1), ln2),
        (CrossEntropy(ignore_label=1, per="position"), ln2),
        (Focal(2.0), 0.5**2 * ln2 + 0.2**2 * ln125),
        (Focal(1.0, (3.0, 10.0, 0.0), per="position"), (3 * 0.5 * ln2 + 10 * 0.2 * ln125) / 2),
        # over three classes: Σpt = 0.5, 0.8, 0; Σp = 0.6, 1.05, 0.35; Σt = 1, 1, 0
        (Dice(), 1 - (2 / 2.6 + 2.6 / 3.05 + 1 / 1.35) / 3),
        (Dice(include_background=False), 1 - (2.6 / 3.05 + 1 / 1.35) / 2),
        (Dice(squared=True), 1 - (2 / 2.26 + 2.6 / (1.7025 + 1) + 1 / 1.0725) / 3),  # Σp² = 0.26, 0.7025, 0.0725
        (SumLoss([CrossEntropy(), Focal()], (2.0, 10.0)), 2 * (ln2 + ln125) + 10 * (0.25 * ln2 + 0.04 * ln125)),
    ],
    ids=repr,
)
def test_soft_by_hand(loss, expected):
    value = built(loss, Space((2,), classes=3))(PAIR, PAIR_LABELS)
    torch.testing.assert_close(value, torch.tensor([expected], dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Dice(), 1 - ((2 + 1) / (3 + 1) + (4 + 1) / (5 + 1)) / 2),
        (Dice(0.5), 1 - ((2 + 0.5) / (3 + 0.5) + (4 + 0.5) / (5 + 0.5)) / 2),
        (Dice(include_background=False), 1 - 5 / 6),
        (Dice(ignore_label=0), 1 - ((0 + 1) / (1 + 1) + 5 / 6) / 2),  # class 0 has no place left, and one is predicted
        (Tversky(0.3, 0.7), 1 - (2 / (2 + 0.3) + 3 / (3 + 0.7)) / 2),  # FP 1, FN 0; FP 0, FN 1
        (Tversky(2.0, 0.0, include_background=False), 0.0),
    ],
    ids=repr,
)
def test_overlap_by_hand(loss, expected):
    value = built(loss, Space((4,), classes=2))(SURE, TRUE)
    torch.testing.assert_close(value, torch.tensor([expected], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_the_focal_loss_of_several_labels_by_hand():
    # channel 0: p = 0.9, true 1; channel 1: p = 0.4, true 0, so that 0.6 is the probability of what is true
    output, target = torch.tensor([[[0.9, 0.4]]], dtype=torch.float64).logit(), torch.tensor([[[1.0, 0.0]]]).double()
    expected = 5 * 0.1**2 * -math.log(0.9) + 0.4**2 * -math.log(0.6)  # a channel's weight is that of its ones
    assert built(Focal(2.0, (5.0, 7.0)), Space((1, 2)))(output, target).item() == pytest.approx(expected, rel=1e-12)


# ---------------------------------------------------------------------- against PyTorch, and one another


@pytest.mark.parametrize("ignored", [1, 255, -100])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_that_of_pytorch(weights, smoothing, ignored):
    labels = torch.where(MASK, LABELS, ignored)
    expected = F.cross_entropy(
        OUTPUT.movedim(-1, 1),
        labels,
        weight=None if weights is None else torch.tensor(weights).double(),
        ignore_index=ignored,
        reduction="none",
        label_smoothing=smoothing,
    ).sum((1, 2))
    for dtype in (torch.int64, torch.int32, torch.int16):
        value = built(CrossEntropy(weights, ignored, smoothing))(OUTPUT, labels.to(dtype))
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    counted = (labels != ignored).sum((1, 2))
    mean = built(CrossEntropy(weights, ignored, smoothing, per="position"))(OUTPUT, labels)
    torch.testing.assert_close(mean, expected / counted, rtol=1e-12, atol=1e-12)


def test_bytes_hold_labels_too():
    labels = torch.where(MASK, LABELS, 255)
    for loss in (CrossEntropy(ignore_label=255), Focal(ignore_label=255), Dice(ignore_label=255)):
        assert torch.equal(loss(OUTPUT, labels.to(torch.uint8)), loss(OUTPUT, labels))
    assert torch.equal(CrossEntropy(ignore_label=-1)(OUTPUT, LABELS.to(torch.uint8)), CrossEntropy()(OUTPUT, LABELS))


def test_one_class_a_sample():
    output, labels = OUTPUT[0, 0], LABELS[0, 0]  # five samples
    expected = F.cross_entropy(output, labels, reduction="none")
    loss = built(CrossEntropy(), Space((), classes=3))
    assert loss.output_shape(Space((), classes=3)).shape == (3,)
    torch.testing.assert_close(loss(output, labels), expected)


def test_what_equals_what():
    def same(first, second, target=LABELS, space=CLASSES):
        first, second = (built(loss, space)(OUTPUT, target, MASK) for loss in (first, second))
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)

    same(Focal(0.0), CrossEntropy())
    same(Focal(0.0, WEIGHTS, ignore_label=1), CrossEntropy(WEIGHTS, ignore_label=1))
    same(Focal(0.0), BinaryCrossEntropy(), ONES, Space((4, 5, 3)))
    same(Tversky(0.5, 0.5, smoothing=0.5), Dice(smoothing=1.0))
    same(Tversky(0.5, 0.5, smoothing=0.5), Dice(smoothing=1.0), ONES, Space((4, 5, 3)))
    same(SumLoss(), SumLoss([CrossEntropy(per="position"), Dice()], (1.0, 1.0)))


@on_classes
def test_gradients_on_classes(loss):
    loss = built(loss)
    assert torch.autograd.gradcheck(lambda output: loss(output, LABELS, MASK), OUTPUT.clone().requires_grad_())


@on_ones
def test_gradients_on_several_labels(loss):
    loss = built(loss, Space((4, 5, 3)))
    assert torch.autograd.gradcheck(lambda output: loss(output, ONES, MASK), OUTPUT.clone().requires_grad_())


# ---------------------------------------------------------------------- what a perfect and a bad answer cost


@pytest.mark.parametrize("loss", [loss for loss in ON_CLASSES if not getattr(loss, "label_smoothing", 0)], ids=repr)
def test_a_perfect_answer_costs_nothing(loss):
    value = built(loss)(certain(LABELS, 3), LABELS, MASK)
    torch.testing.assert_close(value, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)


@on_ones
def test_a_perfect_answer_to_several_labels_costs_nothing(loss):
    value = built(loss, Space((4, 5, 3)))(200 * ONES - 100, ONES, MASK)
    torch.testing.assert_close(value, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", [Dice(1e-5), Tversky(smoothing=1e-5)], ids=repr)
def test_a_class_that_is_absent_and_not_predicted_costs_nothing(loss):
    three, two = (built(loss)(certain(TRUE, k), TRUE) for k in (3, 2))
    assert three.item() == two.item() == 0
    wrong = torch.tensor([[0, 0, 1, 1]])
    three, two = (built(loss)(certain(wrong, k), TRUE) for k in (3, 2))
    assert three.item() == pytest.approx(two.item() * 2 / 3)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    "target", [torch.zeros(1, 1, dtype=torch.long), torch.tensor([[[1.0, 0.0]]])], ids=["class", "ones"]
)
def test_focal_is_smooth_where_nothing_is_left_to_learn(gamma, target):
    output = torch.tensor([[[200.0, -200.0]]], requires_grad=True)  # p is 1 in float32
    value = Focal(gamma)(output, target)
    value.sum().backward()
    assert value.item() == 0
    assert (output.grad == 0).all()


# ---------------------------------------------------------------------- what must not count


@on_classes
def test_masked_positions_of_classes_do_not_count(loss):
    loss, output = built(loss), OUTPUT.clone().requires_grad_()
    value = loss(output, torch.where(MASK, LABELS, 77), MASK)
    value.sum().backward()
    assert (output.grad[~MASK] == 0).all()
    other = torch.where(MASK.unsqueeze(-1), OUTPUT, 50 * randn(2, 4, 5, 3, seed=9))
    assert torch.equal(loss(other, torch.where(MASK, LABELS, -5), MASK), value)
    # as if they were not there
    kept = [loss(OUTPUT[i][MASK[i]][None], LABELS[i][MASK[i]][None]) for i in range(2)]
    torch.testing.assert_close(value, torch.cat(kept), rtol=1e-12, atol=1e-12)


@on_ones
def test_masked_cells_of_several_labels_do_not_count(loss):
    loss = built(loss, Space((4, 5, 3)))
    other = torch.where(MASK.unsqueeze(-1), ONES, 1 - ONES)
    assert torch.equal(loss(OUTPUT, other, MASK), loss(OUTPUT, ONES, MASK))
    cells = MASK.unsqueeze(-1).expand(2, 4, 5, 3)
    assert torch.equal(loss(OUTPUT, ONES, cells), loss(OUTPUT, ONES, MASK))
    cells = cells & (randn(2, 4, 5, 3, seed=5) > 0)
    assert torch.equal(loss(OUTPUT, torch.where(cells, ONES, 1 - ONES), cells), loss(OUTPUT, ONES, cells))


@pytest.mark.parametrize(
    "loss",
    [*(cls(ignore_label=255) for cls in (CrossEntropy, Focal, Dice, Tversky)), Dice(ignore_label=-100)],
    ids=repr,
)
def test_an_ignored_label_is_a_mask(loss):
    labels = torch.where(MASK, LABELS, loss.ignore_label)
    plain = type(loss)()
    assert torch.equal(loss(OUTPUT, labels), plain(OUTPUT, LABELS, MASK))
    both = randn(2, 4, 5, seed=4) > 0
    assert torch.equal(loss(OUTPUT, labels, both), plain(OUTPUT, LABELS, MASK & both))


@on_classes
def test_nothing_that_counts_costs_nothing(loss):
    output = OUTPUT.clone().requires_grad_()
    value = built(loss)(output, LABELS, torch.zeros_like(MASK))
    value.sum().backward()
    assert (value == 0).all()
    assert (output.grad == 0).all()


@on_classes
def test_a_row_does_not_see_the_others(loss):
    loss = built(loss)
    torch.testing.assert_close(loss(OUTPUT[1:], LABELS[1:]), loss(OUTPUT, LABELS)[1:], rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    loss=st.sampled_from([CrossEntropy(), CrossEntropy(per="position"), Focal(), Dice(), Tversky(), SumLoss()]),
    shape=st.lists(st.integers(1, 5), min_size=0, max_size=3),
    classes=st.integers(2, 5),
    rows=st.integers(1, 3),
    several=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape_at_all(loss, shape, classes, rows, several, seed):
    several = several and not isinstance(loss, (CrossEntropy, SumLoss))
    output = randn(rows, *shape, classes, seed=seed)
    target = randn(*output.shape, seed=seed + 1) > 0 if several else output.roll(1, -1).argmax(-1)
    target = target.double() if several else target
    space = Space((*shape, classes)) if several else Space(tuple(shape), classes=classes)
    loss = built(loss, space)
    assert loss.output_shape(space).shape == output.shape[1:]
    value = loss(output, target)
    assert value.shape == (rows,)
    assert (value >= 0).all()
    assert not isinstance(loss, (Dice, Tversky)) or (value < 1).all()
    # positions have no order, and no axes
    flat = output.reshape(rows, -1, classes), target.reshape(rows, -1, *[classes] * several)
    torch.testing.assert_close(loss(*[part.flip(1) for part in flat]), value, rtol=1e-12, atol=1e-12)
    predicted = loss.mean(output)
    assert predicted.shape == output.shape
    assert several or torch.allclose(predicted.sum(-1), torch.ones((), dtype=torch.float64))


def test_sums_of_half_precision_are_taken_in_single():
    output, labels = randn(1, 256, 256, 3).bfloat16(), torch.zeros(1, 256, 256, dtype=torch.long)
    for loss in (CrossEntropy(), Focal(), Dice(), Tversky()):
        value = loss(output, labels)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), loss(output.double(), labels), rtol=1e-5, atol=0)


# ---------------------------------------------------------------------- predictions and draws


def test_draws_of_a_class():
    p = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64)
    draws = CrossEntropy().sample(p.log().expand(40_000, 3), seeded_noise(0))
    shares = torch.bincount(draws, minlength=3) / 40_000
    assert ((shares - p).abs() < 4 * (p * (1 - p) / 40_000).sqrt()).all()
    assert torch.equal(CrossEntropy().sample(OUTPUT, torch.zeros_like), OUTPUT.argmax(-1))
    for extreme in (-40.0, 40.0):
        drawn = CrossEntropy().sample(OUTPUT.float(), lambda like, extreme=extreme: torch.full_like(like, extreme))
        assert ((drawn >= 0) & (drawn < 3)).all()


def test_predictions_are_probabilities():
    for loss in (CrossEntropy(), Focal(), Dice(), Tversky(), SumLoss()):
        torch.testing.assert_close(built(loss).mean(OUTPUT), OUTPUT.softmax(-1))
    for loss in (Focal(), Dice(), Tversky()):
        torch.testing.assert_close(built(loss, Space((4, 5, 3))).mean(OUTPUT), OUTPUT.sigmoid())


def test_cross_entropy_is_a_likelihood_as_it_stands():
    assert CrossEntropy().is_likelihood
    assert CrossEntropy(ignore_label=2).is_likelihood
    others = [CrossEntropy(WEIGHTS), CrossEntropy(label_smoothing=0.1), CrossEntropy(per="position")]
    assert not any(loss.is_likelihood for loss in [*others, Focal(0.0), Dice(), Tversky(), SumLoss([CrossEntropy()])])
    # exp(−loss) adds up to one over all that one position could hold
    total = sum((-CrossEntropy()(OUTPUT[:1, 0, 0], torch.tensor([k]))).exp() for k in range(3))
    assert total.item() == pytest.approx(1)


# ---------------------------------------------------------------------- sums


def test_a_sum_is_the_sum():
    parts = [SquaredError(), AbsoluteError(), GaussianNLL("per_feature")]
    output, target = randn(4, 3), randn(4, 3, seed=1)
    whole = SumLoss(parts, [1.0, 0.5, 2.0])
    assert whole.part_name() == "sum"
    whole = built(whole, Space((3,))).double()
    assert len(list(whole.parameters())) == 1  # the variance that the third learns
    expected = sum(
        w * built(part, Space((3,))).double()(output, target) for w, part in zip([1, 0.5, 2], parts, strict=True)
    )
    torch.testing.assert_close(whole(output, target), expected)
    assert torch.equal(whole.mean(output), output)
    assert whole.build(Space((3,))) is whole  # again, as a part may be


def test_the_scale_of_a_sum():
    """Summed over positions cross-entropy drowns Dice; a position it is of its size."""
    output, labels = randn(1, 64, 64, 3), torch.zeros(1, 64, 64, dtype=torch.long)
    dice, summed, mean = (
        loss(output, labels).item() for loss in (Dice(), CrossEntropy(), CrossEntropy(per="position"))
    )
    assert summed > 1000 * dice
    assert mean < 10 * dice
    assert SumLoss()(output, labels).item() == pytest.approx(mean + dice)


def test_a_sum_asks_for_what_its_losses_ask():
    assert SumLoss([SquaredError(), AbsoluteError()]).bounds is None
    assert SumLoss([BinaryCrossEntropy(), Dice()]).bounds == (0.0, 1.0)
    assert SumLoss([PoissonNLL(), Dice()]).bounds == (0.0, 1.0)
    assert SumLoss([PoissonNLL()]).whole
    assert not SumLoss().whole


def test_losses_of_different_outputs_have_no_sum():
    with pytest.raises(ShapeError, match=r"sum: its losses read outputs of different shapes.*'gaussian_nll'.*\(3,\)"):
        SumLoss([SquaredError(), GaussianNLL("predicted")]).output_shape(Space((3,)))
    with pytest.raises(ShapeError, match="cross_entropy needs a target of classes"):
        SumLoss([SquaredError(), CrossEntropy()]).build(Space((3,)))


def test_a_copy_of_a_sum_shares_nothing():
    whole = SumLoss([GaussianNLL("learned"), Dice()], [1.0, 2.0])
    copy = spec.clone(whole)
    assert [type(loss) for loss in copy.losses] == [GaussianNLL, Dice]
    assert not set(map(id, whole.losses)) & set(map(id, copy.losses))
    copy.build(Space((3,)))
    assert whole.losses[0].out is None
    again = spec.from_spec(spec.to_spec(copy))
    assert repr(again) == repr(whole)


def test_a_sum_trains_and_comes_back(tmp_path):
    import isthmus

    X = (randn(60, 6, dtype=torch.float32) > 0).float().numpy()
    model = Autoencoder(loss=SumLoss([BinaryCrossEntropy(), Dice()]), max_epochs=3, random_state=0).fit(X)
    assert ((model.reconstruct(X) > 0) & (model.reconstruct(X) < 1)).all()
    model.save(tmp_path / "model")
    again = isthmus.load(tmp_path / "model")
    assert (again.score_samples(X) == model.score_samples(X)).all()


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("loss", "space", "message"),
    [
        (CrossEntropy(), Space((6,)), r"cross_entropy needs a target of classes.*\(6,\)"),
        (CrossEntropy((1.0, 2.0)), CLASSES, "cross_entropy: class_weight must have 3 numbers, one a class, got 2"),
        (Focal(class_weight=(1.0, 2.0)), CLASSES, "focal: class_weight must have 3 numbers"),
        (Focal(class_weight=(1.0, 2.0)), Space((4, 3)), "focal: class_weight must have 3 numbers"),
        (Focal(ignore_label=1), Space((6,)), "focal with ignore_label needs a target of classes"),
        (Dice(ignore_label=1), Space((6,)), "dice with ignore_label or without background needs"),
        (Dice(include_background=False), Space((6,)), "dice with ignore_label or without background needs"),
        (Tversky(include_background=False), Space((6,)), "tversky with ignore_label or without background needs"),
    ],
)
def test_a_space_that_does_not_go_with_the_loss(loss, space, message):
    with pytest.raises(ShapeError, match=message):
        loss.build(space)


@pytest.mark.parametrize("loss", [CrossEntropy(WEIGHTS), Focal(class_weight=WEIGHTS)], ids=repr)
def test_weights_are_there_once_it_is_built(loss):
    with pytest.raises(ShapeError, match="is not built"):
        loss(OUTPUT, LABELS)


def test_a_sum_checks_its_losses():
    with pytest.raises(ParameterError, match="Dice: smoothing must be"):
        SumLoss([CrossEntropy(), Dice(0.0)]).check()
