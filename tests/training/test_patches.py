"""Random patches: each is found in its image, and x, y and masks stay together whatever is done to them."""

from __future__ import annotations

import io
from math import prod

import pytest
import torch
from hypothesis import given, settings, strategies as st

from isthmus.augmentations import Elastic, Flip, Intensity, QuarterTurn
from isthmus.bottlenecks import Identity
from isthmus.errors import ParameterError, ShapeError
from isthmus.optimizers import Adam
from isthmus.part import Augmentation
from isthmus.training.loop import Loop
from isthmus.training.patches import Patches
from isthmus.training.rng import isolated_rng
from isthmus.types import Batch
from toys import TinyUNetDecoder, TinyUNetEncoder, assert_replay_has_eager_bits, line, randn, train_step


def charted(n, *positions):
    """Images that say where they are: x holds each position's coordinates and its image's number, y its flat number."""
    axes = torch.meshgrid(*[torch.arange(float(length)) for length in positions], indexing="ij")
    place = torch.stack(axes, -1).expand(n, *positions, len(positions))
    number = torch.arange(float(n)).view(n, *[1] * (len(positions) + 1)).expand(*place.shape[:-1], 1)
    flat = torch.arange(n * prod(positions)).view(n, *positions)
    return Batch(torch.cat([place, number], -1), flat)


def assert_aligned(x, y, positions):
    """Charted y names the position that x was read at, or the nearest to it."""
    for axis, length in reversed(list(enumerate(positions))):
        assert ((x[..., axis] - y % length).abs() < 0.5 + 1e-4).all()
        y = y // length
    assert torch.equal(x[..., -1], y.float())


def ragged(sizes):
    """One charted image of each size, padded with −7 to the largest, and the mask."""
    canvas = [max(lengths) for lengths in zip(*sizes, strict=True)]
    rows = charted(len(sizes), *canvas)
    inside = torch.zeros(rows.y.shape, dtype=torch.bool)
    for i, size in enumerate(sizes):
        inside[(i, *map(slice, size))] = True
    return rows._replace(x=rows.x.where(inside.unsqueeze(-1), torch.tensor(-7.0)), x_mask=inside)


sizes_and_patches = st.integers(1, 3).flatmap(
    lambda dims: st.tuples(*[st.lists(st.integers(1, 7), min_size=dims, max_size=dims)] * 2)
)

# ---------------------------------------------------------------------- plain crops


@settings(max_examples=60, deadline=None)
@given(sizes_and_patches, st.integers(1, 4), st.integers(1, 9), st.integers(0, 5))
def test_every_patch_is_found_in_its_image(shapes, n, batch_size, seed):
    positions, size = shapes
    rows = charted(n, *positions)
    source = Patches(rows, batch_size, seed, size)
    for _ in range(2):
        batch = source.next()
        assert batch.x.shape == (source.sampler.batch_size, *size, len(size) + 1)
        for i, x in enumerate(batch.x):
            image, corner = int(x.flatten(0, -2)[0, -1]), x.flatten(0, -2)[0, :-1].long()
            box = (image, *[slice(c, c + length) for c, length in zip(corner.tolist(), size, strict=True)])
            inside = tuple(slice(min(pair)) for pair in zip(positions, size, strict=True))
            assert torch.equal(x[inside], rows.x[box])
            assert torch.equal(batch.y[i][inside], rows.y[box])
            small = any(length > all_ for length, all_ in zip(size, positions, strict=True))
            assert (batch.x_mask is not None) == (batch.y_mask is not None) == small
            if small:
                expected = torch.zeros(tuple(size), dtype=torch.bool)
                expected[inside] = True
                assert torch.equal(batch.x_mask[i], expected)
                assert torch.equal(batch.y_mask[i], expected)
                assert not x[~expected].any()


def test_every_place_is_as_likely():
    source = Patches(charted(1, 4, 6), 8, 0, (2, 3))  # 3 × 4 places, 4 patches to an epoch
    corners = torch.cat([source.next().x[:, 0, 0, :2] for _ in range(900)])
    places, counts = corners.unique(dim=0, return_counts=True)
    assert places.tolist() == [[r, c] for r in range(3) for c in range(4)]
    expected = len(corners) / 12
    assert ((counts - expected).square() / expected).sum() < 31.3  # χ² of 11 degrees of freedom, 1 in 1,000


def test_whole_images_are_rows():
    rows = charted(7, 3, 4)
    source = Patches(rows, 3, 0)
    assert source.steps_per_epoch == 3
    seen = torch.cat([source.next().x for _ in range(7)])  # three permutations
    assert sorted(seen[:7, 0, 0, -1].tolist()) == list(range(7))
    assert torch.equal(seen, rows.x[seen[:, 0, 0, -1].long()])


# ---------------------------------------------------------------------- an epoch


@settings(max_examples=60, deadline=None)
@given(sizes_and_patches, st.integers(1, 6), st.integers(1, 9))
def test_an_epoch_covers_the_positions_once(shapes, n, batch_size):
    positions, size = shapes
    source = Patches(charted(n, *positions), batch_size, 0, size)
    patches = -(-n * prod(max(pair) for pair in zip(positions, size, strict=True)) // prod(size))
    batch = min(batch_size, patches)
    assert source.sampler.batch_size == batch
    assert source.steps_per_epoch == -(-patches // batch)
    assert len(source) == n


def test_steps_of_400_photographs():
    source = Patches(Batch(torch.zeros(400, 180, 180, 1)), 16, 0, 64)
    assert source.steps_per_epoch == -(-400 * 180 * 180 // (16 * 64 * 64)) == 198


def test_large_images_come_more_often():
    source = Patches(ragged([(2, 2), (8, 4), (3, 3), (1, 1)]), 1, 0, 2)  # in patches: 1, 8, 2.25, 1
    assert source.image_of.tolist() == [0, *[1] * 8, 2, 2, 2, 3]  # the part patch counts where it ends up
    images = [int(source.next().x[..., -1].max()) for _ in range(26)]
    assert [images.count(i) for i in range(4)] == [2, 16, 6, 2]


# ---------------------------------------------------------------------- images of several sizes


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda dims: st.tuples(
            st.lists(st.tuples(*[st.integers(1, 6)] * dims), min_size=1, max_size=4),
            st.tuples(*[st.integers(1, 7)] * dims),
        )
    ),
    st.sampled_from([(), (Flip(),), (Flip(), Elastic(1.5, 2.0))]),
)
def test_patches_lie_in_the_valid_part(shapes, augmentations):
    sizes, size = shapes
    rows = ragged(sizes)
    source = Patches(rows, 6, 0, size, augmentations)
    for _ in range(2):
        batch = source.next()
        assert torch.equal(batch.x_mask, batch.y_mask)
        assert (batch.x >= 0).all()  # nothing of the padding, −7, not even in part
        assert not batch.x[~batch.x_mask].any()
        x, y = batch.x[batch.x_mask], batch.y[batch.x_mask]
        assert_aligned(x, y, rows.y.shape[1:])
        if not any(isinstance(augmentation, Elastic) for augmentation in augmentations):
            for mask, image in zip(batch.x_mask, batch.x[..., -1].flatten(1).amax(1).long().tolist(), strict=True):
                assert mask.sum() == prod(min(pair) for pair in zip(sizes[image], size, strict=True))


# ---------------------------------------------------------------------- augmented

COMBINATIONS = {
    "flip": [Flip()],
    "turn": [QuarterTurn()],
    "flip, turn": [Flip(), QuarterTurn()],
    "elastic": [Elastic(2.0, 4.0)],
    "flip, turn, elastic": [Flip(), QuarterTurn(), Elastic(2.0, 4.0)],
    "elastic, turn, flip": [Elastic(2.0, 4.0), QuarterTurn(), Flip()],
}


@pytest.mark.parametrize("positions", [(30,), (12, 9), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_image_and_labels_stay_aligned(name, positions):
    augmentations = COMBINATIONS[name]
    if len(positions) == 1:
        augmentations = [augmentation for augmentation in augmentations if not isinstance(augmentation, QuarterTurn)]
    rows = charted(6, *positions)
    masks = {"x_mask": torch.ones_like(rows.y, dtype=torch.bool), "y_mask": rows.y % 3 != 0}
    source = Patches(rows._replace(**masks), 6, 0, 5, augmentations)
    for _ in range(5):
        batch = source.next()
        assert_aligned(batch.x, batch.y, positions)
        assert torch.equal(batch.y_mask, batch.y % 3 != 0)
        assert batch.x_mask.all()
        assert (batch.x[..., :-1] >= 0).all()
        assert (batch.x[..., :-1] <= torch.tensor(positions) - 1).all()


@pytest.mark.parametrize("name", ["flip, turn", "flip, turn, elastic"])
def test_a_real_target_is_read_as_x_is(name):
    x = randn(4, 9, 9, 2, dtype=torch.float32)
    source = Patches(Batch(x, x.clone()), 4, 0, 6, COMBINATIONS[name])
    batch = source.next()
    assert torch.equal(batch.x, batch.y)
    shaded = Patches(Batch(x, x.clone()), 4, 0, 6, [*COMBINATIONS[name], Intensity(0.5, 1.0)]).next()
    assert torch.equal(shaded.y, batch.y)  # the same places, and the target as it was
    assert not torch.equal(shaded.x, batch.x)


def test_elastic_of_strength_zero_reads_exactly():
    rows = charted(4, 9, 8)
    plain, still = (Patches(rows, 4, 0, 5, augmentations) for augmentations in ([], [Elastic(0.0)]))
    one, other = plain.next(), still.next()
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.y, other.y)


def test_beyond_the_edge_lies_the_reflection():
    class Left(Augmentation):
        """Three positions and a quarter to the left."""

        exact = False

        def place(self, coordinates, generator):
            return coordinates - 3.25

    batch = Patches(charted(1, 6), 1, 0, augmentations=[Left()]).next()
    assert batch.x[0, :, 0].tolist() == [3.25, 2.25, 1.25, 0.25, 0.75, 1.75]
    assert batch.y[0].tolist() == [3, 2, 1, 0, 1, 2]


def test_eight_symmetries_of_a_patch():
    source = Patches(Batch(torch.arange(9.0).view(1, 3, 3, 1)), 1, 0, 3, [Flip(), QuarterTurn()])
    seen = torch.stack([source.next().x.flatten() for _ in range(1600)])
    counts = seen.unique(dim=0, return_counts=True)[1]
    assert len(counts) == 8
    assert (counts - 200).abs().max() < 4.5 * (1600 * 7 / 64) ** 0.5


def test_other_fields_go_along_with_their_image():
    rows = charted(5, 6)._replace(condition=torch.arange(5.0).unsqueeze(1), weight=torch.arange(5.0))
    batch = Patches(rows, 5, 0, 4, [Flip()]).next()
    assert torch.equal(batch.weight, batch.x[:, 0, -1])
    assert torch.equal(batch.condition[:, 0], batch.x[:, 0, -1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_dtype_stays(dtype):
    rows = Batch(randn(4, 9, 9, 1, dtype=dtype))
    assert Patches(rows, 4, 0, 5, [Flip(), Elastic(), Intensity()]).next().x.dtype == dtype


# ---------------------------------------------------------------------- what the loop asks for


def test_first_and_slice_are_corners_and_move_nothing():
    rows = charted(3, 6, 5)
    source = Patches(rows, 5, 0, (4, 3), [Flip(), Intensity()])
    state = source.sampler.state_dict()["generator"].clone()
    first, again = source.first(), source.first()
    assert torch.equal(first.x, rows.x[[0, 1, 2, 0, 1], :4, :3])
    assert torch.equal(first.x, again.x)
    assert torch.equal(source.slice(0, 2).y, rows.y[:2, :4, :3])
    assert torch.equal(source.sampler.state_dict()["generator"], state)
    batch = source.next()
    assert [(field.shape, field.dtype) for field in first if field is not None] == [
        (field.shape, field.dtype) for field in batch if field is not None
    ]


@pytest.mark.parametrize("moved", [0, 3, 8])
def test_goes_on_with_the_patches_it_would_have_given(moved):
    augmentations = [Flip(), QuarterTurn(), Elastic(), Intensity(0.1, 0.1, 0.3)]
    rows = Batch(randn(6, 12, 12, 1, dtype=torch.float32), torch.arange(6 * 144).view(6, 12, 12))
    first, second = (Patches(rows, 4, seed, 5, augmentations) for seed in (1, 2))
    for _ in range(moved):
        first.next()
    buffer = io.BytesIO()
    torch.save(first.sampler.state_dict(), buffer)
    buffer.seek(0)
    second.sampler.load_state_dict(torch.load(buffer, weights_only=True))
    for _ in range(4):
        one, other = first.next(), second.next()
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)


def test_the_seed_alone_decides():
    rows = Batch(randn(4, 8, 8, 1))
    with torch.random.fork_rng():
        one, two, other = (Patches(rows, 4, seed, 5, [Flip(), Elastic(), Intensity()]) for seed in (1, 1, 2))
        torch.manual_seed(3)
        x = one.next().x
        assert torch.equal(x, two.next().x)
        assert not torch.equal(x, other.next().x)


def u_net(seed=0):
    parts = {"encoder": TinyUNetEncoder(), "bottleneck": Identity(), "decoder": TinyUNetDecoder()}
    return train_step(line((6, 6, 1), None, **parts, seed=seed, double=False))


def test_trains_a_u_net_with_the_same_bits_eager_and_replayed():
    rows = Batch(randn(5, 10, 10, 1, dtype=torch.float32))

    def make():
        source = Patches(rows, 4, 0, 6, [Flip(), QuarterTurn(), Elastic()])
        return u_net(), [source.first(), *[source.next() for _ in range(3)]]

    assert_replay_has_eager_bits(make, Adam())


def test_a_resumed_run_ends_where_the_whole_one_does():
    rows = Batch(randn(5, 10, 10, 1, dtype=torch.float32))

    def loop(seed, epochs):
        source = Patches(rows, 4, seed, 6, [Flip(), Elastic(), Intensity()])
        return Loop(u_net(seed), source, Adam(), learning_rate=0.01, max_epochs=epochs)

    with isolated_rng(0):
        whole, half, rest = loop(0, 4), loop(0, 2), loop(1, 4)
        whole.run()
        half.run()
        rest.state.load_state_dict(half.state.state_dict())
        rest.run()
    assert rest.state.n_steps == whole.state.n_steps == 4 * whole.source.steps_per_epoch
    for name, value in whole.step.state_dict().items():
        assert torch.equal(rest.step.state_dict()[name], value), name


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize("size", [0, -3, 2.5, "64", (4, 0), True])
def test_a_size_is_whole_and_positive(size):
    with pytest.raises(ParameterError, match="Patches: size must be"):
        Patches(charted(2, 6, 6), 1, 0, size)


def test_a_size_has_a_length_an_axis():
    with pytest.raises(ParameterError, match=r"size must have 2 lengths, one an axis of positions, got \(4,\)"):
        Patches(charted(2, 6, 6), 1, 0, (4,))


def test_a_table_has_no_patches():
    with pytest.raises(ShapeError, match=r"x must have positions, \(n, \*positions, C\), got \(5, 3\)"):
        Patches(Batch(randn(5, 3)), 1, 0)


def test_labels_lie_where_the_image_does():
    with pytest.raises(ShapeError, match=r"y must have the positions of x, \(6, 6\), got \(2, 6, 5\)"):
        Patches(charted(2, 6, 6)._replace(y=torch.zeros(2, 6, 5)), 1, 0)


def test_augmentations_are_checked():
    with pytest.raises(ParameterError, match="Flip: p must be"):
        Patches(charted(2, 6, 6), 1, 0, 4, [Flip(2.0)])
