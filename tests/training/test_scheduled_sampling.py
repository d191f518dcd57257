"""A decoder that reads its own words while it is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isthmus import Autoencoder, RNNDecoder, RNNEncoder, ScheduledSampling, Seq2Seq
from isthmus.bottlenecks import Dense
from isthmus.errors import ParameterError
from isthmus.losses import CrossEntropy, SquaredError
from isthmus.model import EncoderDecoder
from isthmus.nn.teacher import own_words
from isthmus.types import Batch, Space


def test_a_share_of_the_positions_and_never_the_first():
    teacher, said = torch.zeros(200, 50, dtype=torch.long), torch.arange(1, 51).expand(200, 50)
    mixed = own_words(teacher, said, torch.tensor(0.3))
    taken = mixed > 0
    assert not taken[:, 0].any()
    assert abs(taken[:, 1:].double().mean() - 0.3) < 0.02
    assert torch.equal(mixed[taken], torch.arange(50).expand(200, 50)[taken])  # what was said one step before
    assert torch.equal(own_words(teacher, said, torch.tensor(0.0)), teacher)


@pytest.mark.parametrize(
    ("target", "loss"), [(Space((6,), classes=5), CrossEntropy()), (Space((6, 2)), SquaredError())]
)
def test_with_all_its_own_the_teacher_has_no_say(target, loss):
    """Only the first word, which begins every sequence, is left of it: for words, and for real numbers."""
    torch.manual_seed(0)
    decoder = RNNDecoder(8, autoregressive=True)
    model = EncoderDecoder(RNNEncoder(8), Dense(), decoder, loss).build(target, latent_dim=4)
    shape = (3, 6) if target.classes else (3, 6, 2)
    y = torch.randint(5, shape) if target.classes else torch.randn(shape)
    model.reads_itself = True
    model.own_share.fill_(1.0)
    latent = model.encode(Batch(y))[2]
    _, _, teacher = model._goal(Batch(y), 1, scaled=True)
    said = model._said(latent, teacher)
    mixed = own_words(teacher, said, model.own_share)
    torch.testing.assert_close(model(Batch(y), scaled=True).output, model.decode(latent, mixed))
    model.eval()
    torch.testing.assert_close(model(Batch(y), scaled=True).output, model.decode(latent, teacher))


def test_rises_over_the_epochs_and_trains():
    words = ["abc", "bca", "cab", "aabb"] * 20
    schedule = ScheduledSampling(0.5, epochs=4)
    model = Seq2Seq(
        encoder=RNNEncoder(16, pool=None), tokenizer="char", max_epochs=3, callbacks=[schedule], random_state=0
    ).fit(words, words)
    torch.testing.assert_close(model.module_.own_share, torch.tensor(0.25))
    assert np.isfinite(model.history_[-1]["loss"])


def test_refused_by_name():
    with pytest.raises(ParameterError, match=r"end must be a number in \[0, 1\], got 1"):
        ScheduledSampling(1.5)
    model = Autoencoder(max_epochs=1, callbacks=[ScheduledSampling()])
    with pytest.raises(ParameterError, match="must generate step by step, got MLPDecoder"):
        model.fit(np.eye(9))
