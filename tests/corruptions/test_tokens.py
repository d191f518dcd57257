"""Blanks and losses in sequences of classes."""

from __future__ import annotations

import pytest
import torch

from isthmus import DenoisingAutoencoder
from isthmus.corruptions import GaussianNoise, Masking, SaltAndPepper, TokenDropout, TokenMasking
from isthmus.encoders import RNNEncoder
from isthmus.errors import ParameterError, ShapeError
from isthmus.types import Bypass, Seen, Space

K = 5
WORDS = Space((None,), classes=K)


def seen(n=400, longest=60, seed=0):
    """Rows of 1 to ``longest`` classes, padded."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (n, 1), generator=generator)
    mask = torch.arange(longest) < lengths
    return Seen(torch.randint(K, (n, longest), generator=generator) * mask, Bypass(mask=mask))


@pytest.mark.parametrize("span", [1, 3, 10])
@pytest.mark.parametrize("p", [0.15, 0.5])
def test_a_share_is_hidden(p, span):
    torch.manual_seed(0)
    given = Seen(torch.randint(K, (200, 500)))
    found = TokenMasking(p, span).build(WORDS)(given)
    inner = found.hidden[:, span:]  # the first positions have fewer chances
    assert inner.float().mean() == pytest.approx(p, abs=0.02)
    assert (found.x[found.hidden] == K).all()
    assert torch.equal(found.x[~found.hidden], given.x[~found.hidden])


def test_padding_is_not_hidden():
    torch.manual_seed(0)
    given = seen()
    found = TokenMasking(0.5).build(WORDS)(given)
    assert not (found.hidden & ~given.bypass.mask).any()
    assert torch.equal(found.bypass.mask, given.bypass.mask)


def test_joined_spans_leave_one_blank():
    torch.manual_seed(0)
    given = seen()
    found = TokenMasking(0.3, 3, joined=True).build(WORDS)(given)
    x, mask = found.x, found.bypass.mask
    assert not ((x[:, 1:] == K) & (x[:, :-1] == K)).any()
    assert (mask.sum(1) <= given.bypass.mask.sum(1)).all()
    assert (mask.sum(1) >= 1).all()
    assert (x[~mask] == 0).all()


def test_what_is_lost_leaves_the_order():
    torch.manual_seed(0)
    given = Seen(torch.arange(200).expand(50, -1) % K)
    found = TokenDropout(0.25).build(WORDS)(given)
    assert found.bypass.mask.float().mean() == pytest.approx(0.75, abs=0.02)
    numbers = TokenDropout(0.25).build(Space((None,), classes=200))(Seen(torch.arange(200).expand(50, -1)))
    for row, mask in zip(numbers.x, numbers.bypass.mask, strict=True):
        assert row[mask][0] == 0
        assert (row[mask].diff() > 0).all()


def test_none_is_empty():
    torch.manual_seed(0)
    found = TokenDropout(0.99).build(WORDS)(seen(longest=3))
    assert (found.bypass.mask.sum(1) >= 1).all()


@pytest.mark.parametrize("corruption", [TokenMasking(0.5), TokenMasking(0.5, 2, True), TokenDropout(0.5)], ids=repr)
def test_an_encoder_reads_it(corruption):
    torch.manual_seed(0)
    encoder = RNNEncoder(4).build(WORDS)
    assert encoder(corruption.build(WORDS)(seen(8))).h.isfinite().all()


@pytest.mark.parametrize("corruption", [TokenMasking, TokenDropout])
def test_refused(corruption):
    with pytest.raises(ShapeError, match="needs sequences of classes"):
        corruption().build(Space((6,)))
    with pytest.raises(ParameterError, match="p must be"):
        corruption(1.0).check()
    assert corruption(0.0).build(WORDS)(given := seen(3)) is given


@pytest.mark.parametrize(
    "corruption", [GaussianNoise(), GaussianNoise((0.1, 0.2)), Masking(), SaltAndPepper()], ids=repr
)
def test_noise_for_numbers_is_refused_for_texts(corruption):
    with pytest.raises(ShapeError, match="needs real numbers; TokenMasking and TokenDropout take classes"):
        DenoisingAutoencoder(corruption=corruption, max_epochs=1).fit(["a b", "b a"] * 4)
