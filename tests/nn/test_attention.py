"""Attention on numbers of 16 bits."""

import pytest
import torch

from isthmus.nn.attention import attended


@pytest.mark.parametrize("causal", [False, True])
def test_sixteen_bits_are_widened_within_and_come_back(causal):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 8).bfloat16().requires_grad_() for _ in range(3))
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    with torch.autocast("cpu", torch.bfloat16):
        found = attended(query, key, value, mask, causal)
    expected = attended(query.float(), key.float(), value.float(), mask, causal)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())
    (gradient,) = torch.autograd.grad(found.float().sum(), value)
    assert gradient.dtype == torch.bfloat16
    assert gradient.isfinite().all()
