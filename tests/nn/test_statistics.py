"""Statistics of a batch."""

import torch

from isthmus.nn.statistics import batch_mean, every, unit_means
from isthmus.nn.weights import weights_of
from toys import randn

W = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)


def test_a_weighted_mean_is_that_of_repeated_rows():
    values, z = randn(3), randn(3, 4)
    assert torch.equal(batch_mean(values), values.mean())
    torch.testing.assert_close(batch_mean(values, W), values[[0, 2, 2]].mean())
    torch.testing.assert_close(unit_means(z, W), z[[0, 2, 2]].mean(0))


def test_means_of_positions():
    z, mask = randn(3, 5, 4), torch.tensor([[True] * 5, [True] * 5, [True, False, True, False, False]])
    torch.testing.assert_close(unit_means(z), z.mean((0, 1)))
    torch.testing.assert_close(unit_means(z, mask=mask), z[mask].mean(0))
    rows = [z[0], z[2, [0, 2]], z[2, [0, 2]]]
    torch.testing.assert_close(unit_means(z, W, mask), torch.cat(rows).mean(0))


def test_rows_evenly_spaced():
    assert every(9, 5).tolist() == [0, 2, 4, 6, 8]
    assert every(3, 5).tolist() == [0, 1, 2]
    assert every(10, 1).tolist() == [0]
    assert len(every(10_000, 1000)) == 1000


def test_weights_are_matrices():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3), torch.nn.Conv1d(2, 3, 1))
    assert [tuple(weight.shape) for weight in weights_of(module)] == [(3, 2), (3, 2, 1)]
