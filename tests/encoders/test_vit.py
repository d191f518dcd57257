"""Pictures as patches: the Vision Transformer and the masked autoencoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import isthmus
from isthmus import Autoencoder, DenoisingAutoencoder, PatchMasking, VariationalAutoencoder, ViTDecoder, ViTEncoder
from isthmus.bottlenecks import Identity
from isthmus.encoders import ConvEncoder
from isthmus.errors import IsthmusError, UnsupportedError
from isthmus.losses import SquaredError
from isthmus.model import EncoderDecoder
from isthmus.nn.patches import grid_of, grid_positions, patches_of, pictures_of, spread
from isthmus.types import Batch, Seen, Space
from toys import randn

SMALL = {"patch_size": 3, "d_model": 8, "num_heads": 2, "num_layers": 1}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_patches_put_together_are_the_picture(positions, size):
    x = torch.randn(2, *positions, 3)
    patches = patches_of(x, size)
    assert patches.shape == (2, np.prod(grid_of(positions, size)), size ** len(positions) * 3)
    assert torch.equal(pictures_of(patches, positions, size), x)


def test_patches_are_read_row_by_row():
    x = torch.arange(16.0).view(1, 4, 4, 1)
    assert patches_of(x, 2)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert spread(torch.tensor([[1, 2, 3, 4]]), (4, 4), 2)[0, :, 1:3].tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]


def test_each_patch_has_a_place_of_its_own():
    where = grid_positions((5, 7), 12, torch.device("cpu"))
    assert torch.cdist(where, where).fill_diagonal_(9).min() > 0.1


def masked(p=0.5, positions=(7, 8)):
    """A built corruption, pictures without a zero, and what is seen of them."""
    part = PatchMasking(p, 3).build(Space((*positions, 1)))
    x = randn(4, *positions, 1).abs() + 1
    return part, x, part(Seen(x))


def test_hides_its_share_of_patches_and_says_which():
    _, x, seen = masked()
    assert seen.bypass.positions.shape == (4, 4)  # of 3 × 3
    assert torch.equal(seen.hidden, (seen.x == 0)[..., 0])
    assert torch.equal(seen.x[~seen.hidden], x[~seen.hidden])
    visible = torch.zeros(4, 9).scatter(1, seen.bypass.positions, 1.0)
    assert torch.equal(spread(visible, (7, 8), 3) > 0, ~seen.hidden)


def test_the_encoder_reads_visible_patches_alone():
    _, x, seen = masked()
    part = ViTEncoder(**SMALL).build(Space((7, 8, 1))).double().eval()
    other = torch.where(seen.hidden.unsqueeze(-1), randn(*x.shape), seen.x)
    first, second = part(seen).h, part(seen._replace(x=other)).h
    assert first.shape == (4, 4, 8)
    assert torch.equal(first, second)
    assert part(Seen(x)).h.shape == (4, 9, 8)


def line(corruption, encoder=None):
    return EncoderDecoder(
        encoder or ViTEncoder(**SMALL), Identity(), ViTDecoder(**SMALL), SquaredError(), None, corruption
    )


@pytest.mark.parametrize("hidden_only", [True, False])
def test_the_loss_counts_what_was_hidden(hidden_only):
    model = line(PatchMasking(0.5, 3, hidden_only)).build(Space((7, 8, 1))).double()
    trace = model(Batch(randn(4, 7, 8, 1)), scaled=True)
    squared = (trace.output - trace.target).square()
    if hidden_only:
        squared = squared * trace.seen.hidden.unsqueeze(-1)
    torch.testing.assert_close(model.loss(trace.output, trace.target, trace.mask), squared.flatten(1).sum(1))
    model.loss(trace.output, trace.target, trace.mask).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_what_is_painted_depends_on_what_is_visible():
    """And on where it is: the same patches at other places give another picture."""
    model = line(PatchMasking(0.5, 3)).build(Space((6, 6, 1))).double().eval()
    x = randn(1, 6, 6, 1)
    slopes = torch.autograd.functional.jacobian(lambda x: model(Batch(x), noise=torch.zeros_like).output, x)
    assert (slopes.abs().sum((0, 1, 2, 3, 4)).squeeze() > 0).float().mean() == 0.5  # half the pixels are read
    assert not torch.allclose(model(Batch(x)).output, model(Batch(x.flip(1))).output.flip(1))


def pictures(n=60):
    """Stripes, whose hidden parts follow from the visible ones."""
    generator = np.random.default_rng(0)
    angle, phase = generator.uniform(0, np.pi, (n, 1, 1)), generator.uniform(0, 6, (n, 1, 1))
    row, column = np.mgrid[:9, :9]
    return np.sin(0.9 * (np.cos(angle) * row + np.sin(angle) * column) + phase).astype(np.float32)


def test_a_masked_autoencoder_learns_and_comes_back_from_disk(tmp_path):
    generator, (row, column) = np.random.default_rng(0), np.mgrid[-1:1:9j, -1:1:9j]
    slopes = generator.normal(size=(200, 2, 1, 1))
    x = (slopes[:, 0] * row + slopes[:, 1] * column).astype(np.float32)  # ramps go on where they are hidden
    model = DenoisingAutoencoder(
        encoder=ViTEncoder(3, 32, 2, 1),
        bottleneck="identity",
        corruption=PatchMasking(0.3, 3),
        max_epochs=50,
        validation_fraction=0,
        learning_rate=1e-2,
        random_state=0,
    ).fit(x)
    damaged, restored = model.restore(x)
    changed = ~np.isclose(damaged, x, atol=1e-5).reshape(-1, 3, 3, 3, 3)
    hidden = changed.any((2, 4), keepdims=True).repeat(3, 2).repeat(3, 4).reshape(x.shape)  # whole patches
    assert 0.2 < hidden.mean() < 0.4
    assert np.allclose(restored[~hidden], x[~hidden], atol=1e-5)
    assert np.square(restored - x)[hidden].mean() < 0.7 * np.square(x)[hidden].mean()
    assert model.transform(x).shape == (200, 9, 32)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(isthmus.load(tmp_path / "model").restore(x)[1], restored)


@pytest.mark.parametrize("cls", [Autoencoder, VariationalAutoencoder])
def test_one_code_a_picture(cls):
    x = pictures()
    model = cls(encoder=ViTEncoder(**SMALL, pool="mean"), latent_dim=4, max_epochs=2, random_state=0).fit(x)
    assert model.transform(x).shape == (60, 4)
    assert model.inverse_transform(model.transform(x)).shape == x.shape


def test_hidden_patches_for_a_network_of_convolutions():
    x = pictures()
    model = DenoisingAutoencoder(
        encoder=ConvEncoder((4, 8)), corruption=PatchMasking(0.5, 3, False), max_epochs=2, random_state=0
    ).fit(x)
    assert model.restore(x)[1].shape == x.shape


def mae(encoder, corruption):
    return DenoisingAutoencoder(encoder=encoder, bottleneck="identity", corruption=corruption, max_epochs=1)


REFUSED = {
    "other patches": (lambda: mae(ViTEncoder(**SMALL), PatchMasking(0.5, 2)).fit(pictures()), "patch_size of the"),
    "a table": (lambda: mae("mlp", PatchMasking()).fit(np.eye(9)), "patch_masking needs pictures"),
    "a table to the encoder": (lambda: Autoencoder(encoder="vit").fit(np.eye(9)), "vit encoder needs pictures"),
    "heads": (lambda: Autoencoder(encoder=ViTEncoder(d_model=9)).fit(pictures()), "num_heads must divide"),
    "all hidden": (lambda: mae(ViTEncoder(**SMALL), PatchMasking(1.0, 3)).fit(pictures()), "p must be"),
    "several sizes": (
        lambda: Autoencoder(encoder=ViTEncoder(**SMALL)).fit([np.ones((9, 9), "u1"), np.ones((8, 9), "u1")] * 9),
        "pictures of one size",
    ),
    "too few codes": (
        lambda: mae(ViTEncoder(**SMALL), PatchMasking(0.5, 3)).fit(pictures()).inverse_transform(np.ones((2, 4, 8))),
        "a code for each of 9 patches, got 4",
    ),
    "texts": (lambda: Autoencoder(encoder="vit").fit(["a b", "c d"] * 20), "encoder must be 'rnn' or 'transformer'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    attempt, message = REFUSED[case]
    with pytest.raises(IsthmusError, match=message):
        attempt()


def test_restore_needs_a_corruption():
    x = pictures()
    with pytest.raises(UnsupportedError, match="restore needs numbers and a corruption"):
        DenoisingAutoencoder(encoder="conv", max_epochs=1).fit(x, x).restore(x)
