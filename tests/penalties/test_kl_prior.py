"""The price of a posterior: β, free bits, and what has no closed form."""

from __future__ import annotations

import pytest
import torch

from isthmus.errors import UnsupportedError
from isthmus.penalties import KLPrior
from toys import hand_trace

# two rows, three units
KL = torch.tensor([[0.1, 2.0, 0.4], [0.3, 4.0, 0.6]], dtype=torch.float64)


def test_per_sample_it_is_the_sum_over_units():
    assert KLPrior()(hand_trace(kl=KL), None).tolist() == pytest.approx([2.5, 4.9])


def test_free_bits_by_hand():
    # means over the batch: 0.2, 3.0, 0.5; with λ = 0.5: 0.5 + 3.0 + 0.5
    kl = KL.clone().requires_grad_()
    value = KLPrior(free_bits=0.5)(hand_trace(kl=kl), None)
    assert value.item() == pytest.approx(4.0, abs=1e-12)
    (gradient,) = torch.autograd.grad(value, kl)
    assert gradient[:, :2].tolist() == [[0, 0.5], [0, 0.5]]  # below λ nothing pushes


def test_free_bits_of_zero_and_almost_zero_agree():
    for kl in (KL, KL.view(2, 3, 1).expand(2, 3, 4)):  # a code, and a sequence of three positions
        trace = hand_trace(kl=kl)
        torch.testing.assert_close(KLPrior(free_bits=1e-9)(trace, None), KLPrior()(trace, None).mean())


def test_free_bits_weigh_rows():
    # weights 3 and 1: means 0.15, 2.5, 0.45
    weight = torch.tensor([3.0, 1.0], dtype=torch.float64)
    value = KLPrior(free_bits=0.2)(hand_trace(kl=KL, weight=weight), None)
    assert float(value) == pytest.approx(0.2 + 2.5 + 0.45, abs=1e-12)


def test_without_a_closed_form_the_sample_counts():
    log_ratio = torch.tensor([1.0, -2.0])
    trace = hand_trace(torch.zeros(2, 3), log_ratio=log_ratio)
    assert KLPrior()(trace, None).tolist() == [1, -2]
    with pytest.raises(UnsupportedError, match="free_bits must be 0"):
        KLPrior(free_bits=0.1)(trace, None)


def test_without_a_posterior_it_says_so():
    with pytest.raises(UnsupportedError, match="needs a bottleneck with a posterior"):
        KLPrior()(hand_trace(torch.zeros(2, 3)), None)
