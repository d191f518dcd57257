"""KL sparsity and L1 on the code, against values worked by hand."""

from __future__ import annotations

import pytest
import torch

from isthmus.objective import Objective
from isthmus.penalties import KLSparsity, L1Activity
from isthmus.types import Space
from toys import hand_trace, line, randn

# two rows, two units: ρ̂ = (0.5, 0.25)
Z = torch.tensor([[0.2, 0.1], [0.8, 0.4]], dtype=torch.float64)
# with ρ = 0.1
#   KL(0.1 ‖ 0.5)  = 0.1 ln 0.2 + 0.9 ln 1.8 = −0.16094379124341 + 0.52900799841191 = 0.36806420716850
#   KL(0.1 ‖ 0.25) = 0.1 ln 0.4 + 0.9 ln 1.2 = −0.09162907318742 + 0.16408940111455 = 0.07246032792714
BY_HAND = 0.44052453509564


def test_j_sparse_by_hand():
    """J_sparse = J + β Σⱼ KL(ρ ‖ ρ̂ⱼ) with J the mean over rows of ‖x̂ − x‖²."""
    output = torch.tensor([[1.0, 2.0], [0.0, 3.0]], dtype=torch.float64)  # J = (1 + 4 + 0 + 9) / 2 = 7
    trace = hand_trace(Z, output=output, target=torch.zeros_like(output))
    objective = Objective([KLSparsity(3.0, rho=0.1).build(Space(()))])
    total, terms = objective(trace, line(2))
    assert float(terms["loss"]) == pytest.approx(7, abs=1e-12)
    assert float(terms["kl_sparsity"]) == pytest.approx(BY_HAND, abs=1e-12)
    assert float(total) == pytest.approx(7 + 3 * BY_HAND, abs=1e-12)


def test_it_is_zero_at_rho_and_rises_to_both_sides():
    def at(activation):
        return float(KLSparsity(rho=0.2)(hand_trace(torch.full((3, 1), activation, dtype=torch.float64)), None))

    assert at(0.2) == pytest.approx(0, abs=1e-15)
    assert at(0.1) > 0 < at(0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", [0.0, 1.0])
def test_dead_and_saturated_units_stay_finite(activation, dtype):
    z = torch.full((4, 2), activation, dtype=dtype, requires_grad=True)
    value = KLSparsity()(hand_trace(z), None)
    (gradient,) = torch.autograd.grad(value, z)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_gradients():
    z = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).clamp(0.05, 0.95)
    weight = torch.tensor([1.0, 2.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    for row_weight in (None, weight):
        assert torch.autograd.gradcheck(
            lambda z, w=row_weight: KLSparsity(rho=0.1)(hand_trace(z, weight=w), None), z.requires_grad_()
        )
    z = randn(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: L1Activity()(hand_trace(z), None), z)


def test_weights_and_masks_by_hand():
    # a sequence of two positions and one unit; row 1 is padded after its first position
    z = torch.tensor([[[0.2], [0.6]], [[0.4], [0.9]]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False]])
    weight = torch.tensor([1.0, 2.0], dtype=torch.float64)
    # ρ̂ = (0.2 + 0.6 + 2 · 0.4) / (1 + 1 + 2) = 0.4
    zero = KLSparsity(rho=0.4)(hand_trace(z, mask=mask, weight=weight), None)
    assert float(zero) == pytest.approx(0, abs=1e-15)


def test_l1_by_hand():
    z = torch.tensor([[1.0, -2.0], [0.0, 3.0]], dtype=torch.float64)
    assert L1Activity()(hand_trace(z), None).tolist() == [3, 3]
    positions = z.view(1, 2, 2)
    assert L1Activity()(hand_trace(positions, mask=torch.tensor([[True, False]])), None).tolist() == [3]
