"""What the augmentations draw: exact permutations, a field's deviation, ranges; and nothing but from the generator."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings, strategies as st

from isthmus.augmentations import Elastic, Flip, Intensity, QuarterTurn
from isthmus.errors import ParameterError, ShapeError
from isthmus.part import Augmentation
from isthmus.types import Space
from toys import randn

ALL = [Flip(), QuarterTurn(), Elastic(), Intensity(0.2, 0.3, 0.5)]
SQUARE = torch.arange(9).view(3, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid(*size, batch, dtype=torch.long):
    """Where every position is read from before any augmentation."""
    axes = torch.meshgrid(*[torch.arange(length, dtype=dtype) for length in size], indexing="ij")
    return torch.stack(axes, -1).expand(batch, *size, len(size))


def drawn(*augmentations, size, batch, seed=0):
    """The image of flat positions as each of a batch of patches sees it."""
    source, at = generator(seed), grid(*size, batch=batch)
    for augmentation in augmentations:
        at = augmentation.place(at, source)
    assert not at.is_floating_point()
    flat = at[..., 0]
    for axis, length in enumerate(size[1:], start=1):
        flat = flat * length + at[..., axis]
    return flat


def shares(images):
    """How often each distinct image occurs."""
    found, counts = images.flatten(1).unique(dim=0, return_counts=True)
    return {tuple(image.tolist()): count / len(images) for image, count in zip(found, counts.tolist(), strict=True)}


def symmetries():
    """The eight of a square, by rotation and transposition of the image itself."""
    turned = [torch.rot90(SQUARE, k) for k in range(4)]
    return {tuple(image.flatten().tolist()) for image in [*turned, *[image.T for image in turned]]}


def near(share, p, n):
    """Within four and a half standard errors of a binomial share."""
    return abs(float(share) - p) <= 4.5 * (p * (1 - p) / n) ** 0.5


# ---------------------------------------------------------------------- exact permutations


def test_flip_and_turn_give_each_symmetry_of_a_square_an_eighth_of_the_time():
    found = shares(drawn(Flip(), QuarterTurn(), size=(3, 3), batch=8000))
    assert set(found) == symmetries()
    assert all(near(share, 1 / 8, 8000) for share in found.values())


def test_turns_alone_are_the_four_rotations():
    found = shares(drawn(QuarterTurn(), size=(3, 3), batch=4000))
    assert set(found) == {tuple(torch.rot90(SQUARE, k).flatten().tolist()) for k in range(4)}
    assert all(near(share, 1 / 4, 4000) for share in found.values())


def test_a_rectangle_turns_by_half_turns_only():
    found = shares(drawn(QuarterTurn(), size=(2, 3), batch=1000))
    assert set(found) == {(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0)}
    assert all(near(share, 1 / 2, 1000) for share in found.values())


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_each_axis_flips_by_itself(p):
    found = shares(drawn(Flip(p), size=(2, 2), batch=4000))
    expected = {
        (0, 1, 2, 3): (1 - p) ** 2,
        (2, 3, 0, 1): p * (1 - p),  # the first axis
        (1, 0, 3, 2): p * (1 - p),  # the last
        (3, 2, 1, 0): p * p,
    }
    assert set(found) == {image for image, share in expected.items() if share}
    assert all(near(share, expected[image], 4000) for image, share in found.items())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 100))
def test_exact_ones_permute_the_positions(size, seed):
    augmentations = [Flip(), QuarterTurn()] if len(size) > 1 else [Flip()]
    images = drawn(*augmentations, size=size, batch=6, seed=seed).flatten(1)
    assert torch.equal(images.sort(1).values, torch.arange(images.shape[1]).expand(6, -1))


def test_a_turn_of_a_volume_keeps_its_first_axis():
    at = QuarterTurn().place(grid(2, 3, 3, batch=50), generator())
    assert torch.equal(at[..., 0], grid(2, 3, 3, batch=50)[..., 0])
    assert torch.equal(at[:, 0, ..., 1:], at[:, 1, ..., 1:])


# ---------------------------------------------------------------------- smooth displacements


def test_elastic_of_strength_zero_is_the_identity():
    before = grid(9, 7, batch=3, dtype=torch.float32)
    assert torch.equal(Elastic(0.0).place(before, generator()), before)


@pytest.mark.parametrize(("size", "spacing"), [((37,), 8.0), ((20, 15), 4.0), ((6, 7, 8), 2.5), ((5, 5), 1.0)])
def test_elastic_has_its_deviation_at_every_position(size, spacing):
    n = 4000
    before = grid(*size, batch=n, dtype=torch.float32)
    moved = Elastic(2.0, spacing).place(before, generator()) - before
    assert moved.shape == before.shape
    deviation = moved.square().mean(0).sqrt()  # (*size, dims); standard error 2 / √(2 n) = 0.022
    assert (deviation - 2).abs().max() < 5 * 0.0224
    assert moved.mean(0).abs().max() < 5 * 2 / n**0.5


def test_elastic_is_smooth_over_its_spacing():
    """Neighbours move together: the stretch is 1.0 (on a node) to 1.33 (between two) times strength / spacing."""
    before = grid(65, batch=4000, dtype=torch.float32)
    moved = (Elastic(3.0, 32.0).place(before, generator()) - before)[..., 0]
    stretch = moved.diff(dim=1).std(0) / (3.0 / 32.0)
    assert 0.9 < stretch.min() < stretch.max() < 1.45
    assert (moved[:, 0] * moved[:, 64]).mean().abs() < 1  # two spacings apart: hardly related (9 were the same)


# ---------------------------------------------------------------------- intensities

X = randn(2000, 5, 4, 2, dtype=torch.float32)


def test_gain_and_shift_by_a_line_a_sample():
    shaded = Intensity(0.2, 0.3).shade(X, generator())
    low, high = X.flatten(1).min(1), X.flatten(1).max(1)
    ends = [shaded.flatten(1).gather(1, end.indices.unsqueeze(1)).squeeze(1) for end in (low, high)]
    gain = (ends[1] - ends[0]) / (high.values - low.values)
    shift = ends[0] - gain * low.values
    torch.testing.assert_close(shaded, X * gain.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1), rtol=0, atol=1e-4)
    for drawn, centre, half in ((gain, 1.0, 0.2), (shift, 0.0, 0.3)):
        assert drawn.min() > centre - half - 1e-4
        assert drawn.max() < centre + half + 1e-4
        assert (drawn.max() - drawn.min()) > 1.95 * half  # 2,000 draws come close to both ends
        assert abs(drawn.mean() - centre) < 4.5 * half / 3**0.5 / 2000**0.5


def test_gamma_keeps_the_range_of_each_channel_and_the_order():
    shaded = Intensity(0.0, 0.0, 1.0).shade(X, generator())
    for extreme in (torch.amin, torch.amax):
        torch.testing.assert_close(extreme(shaded, (1, 2)), extreme(X, (1, 2)))
    assert torch.equal(shaded.flatten(1, 2).argsort(1), X.flatten(1, 2).argsort(1))
    unit = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1).expand(2000, 3, 1)
    logs = Intensity(0.0, 0.0, 1.0).shade(unit, generator())[:, 1, 0].log() / log(0.5)  # the exponents: 0.5 to 2
    assert 0.5 - 1e-5 < logs.min() < 0.51
    assert 1.96 < logs.max() < 2 + 1e-5
    assert near((logs < 1).float().mean(), 0.5, 2000)


def test_a_constant_image_stays_so():
    assert torch.equal(Intensity(0.0, 0.0, 1.0).shade(torch.ones(3, 4, 1), generator()), torch.ones(3, 4, 1))


def test_none_of_it_changes_nothing():
    assert torch.equal(Intensity(0.0, 0.0, 0.0).shade(X, generator()), X)


# ---------------------------------------------------------------------- all of them


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_the_generator_alone_decides(augmentation):
    before, values = grid(6, 6, batch=5, dtype=torch.float32), X[:5]
    answers = []
    for seed, process in ((1, 0), (1, 7), (2, 0)):
        with torch.random.fork_rng():
            torch.manual_seed(process)
            state, source = torch.get_rng_state(), generator(seed)
            answers.append((augmentation.place(before, source), augmentation.shade(values, source)))
            assert torch.equal(torch.get_rng_state(), state)
    one, same, other = answers
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_what_is_given_stays_as_it_is(augmentation):
    before, values = grid(6, 6, batch=5, dtype=torch.float32), X[:5]
    copies = before.clone(), values.clone()
    placed, shaded = augmentation.place(before, generator()), augmentation.shade(values, generator())
    assert torch.equal(before, copies[0])
    assert torch.equal(values, copies[1])
    assert (placed.shape, shaded.shape, shaded.dtype) == (before.shape, values.shape, values.dtype)


def test_a_plain_augmentation_is_the_identity():
    at, source = grid(3, batch=2), generator()
    state = source.get_state()
    assert Augmentation().place(at, source) is at
    assert Augmentation().shade(X, source) is X
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize(
    "augmentation",
    [Flip(-0.1), Flip(1.5), Elastic(-1), Elastic(spacing=0), Intensity(-1), Intensity(2), Intensity(gamma=-0.5)],
    ids=repr,
)
def test_arguments_are_checked_when_built(augmentation):
    with pytest.raises(ParameterError, match=f"{type(augmentation).__name__}: .* must be a number in"):
        augmentation.build(Space((8, 8, 1)))


def test_a_signal_does_not_turn():
    with pytest.raises(ShapeError, match=r"QuarterTurn needs two axes of positions or more, got the shape \(8, 1\)"):
        QuarterTurn().build(Space((8, 1)))
