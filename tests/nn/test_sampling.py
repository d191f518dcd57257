"""Reading a stack of images at any positions, by small numbers."""

import torch

from isthmus.nn.sampling import flat_index, gathered, interpolated, reflected
from toys import randn


def test_reflection_mirrors_at_both_ends_without_repeating_them():
    at = torch.tensor([-2.0, -0.5, 0, 1.5, 3, 3.25, 5, 7])
    assert reflected(at, torch.tensor(3.0)).tolist() == [2, 0.5, 0, 1.5, 3, 2.75, 1, 0]  # 7 → −1 is outside again
    assert reflected(at, torch.tensor(0.0)).tolist() == [0] * 8


def test_flat_index_counts_the_last_axis_fastest():
    assert flat_index(torch.tensor([[0, 0, 3], [1, 2, 0]]), (2, 3, 4)).tolist() == [3, 1 * 12 + 2 * 4]
    assert flat_index(torch.tensor([[5]]), (9,)).tolist() == [5]


def test_gathered_keeps_the_channels():
    stack = randn(10, 3)
    index = torch.tensor([[9, 0], [4, 4]])
    assert torch.equal(gathered(stack, index), stack[index])
    assert torch.equal(gathered(stack[:, :1].contiguous(), index), stack[index][..., :1])
    assert torch.equal(gathered(stack[:, 0].contiguous(), index), stack[index][..., 0])


def test_interpolation_between_the_corners_of_a_cell():
    stack = torch.tensor([[0.0, 10.0], [2.0, 20.0], [4.0, 70.0], [9.0, 90.0]])  # 2 × 2 positions, two channels
    at = interpolated(stack, torch.tensor([0]), torch.tensor([[0.5, 0.25]]), (2, 2))
    # the first: 0.5 (0.75 · 0 + 0.25 · 2) + 0.5 (0.75 · 4 + 0.25 · 9)
    assert at.tolist() == [[0.25 + 2.625, 6.25 + 37.5]]


def test_an_axis_of_one_position_needs_no_next():
    assert interpolated(torch.tensor([1.0, 3.0]), torch.tensor([0]), torch.tensor([[0.0, 0.5]]), (1, 2)).item() == 2.0
    assert interpolated(torch.tensor([1.0, 3.0]), torch.tensor([0]), torch.tensor([[0.5, 0.0]]), (2, 1)).item() == 2.0
