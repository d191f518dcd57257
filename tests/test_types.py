"""The records and the space."""

import torch

from isthmus.types import Batch, Space, sum_features, wide


def test_a_space_is_read_from_a_width_or_a_shape():
    assert Space.of(3) == Space((3,))
    assert Space.of((28, 28, 1)) == Space((28, 28, 1))
    space = Space((2,), classes=5)
    assert Space.of(space) is space


def test_size_and_free_axes():
    assert Space((4, 3)).size == 12
    assert Space((None, 3)).size is None
    assert Space((None, 3)).accepts(torch.zeros(2, 9, 3))
    assert not Space((None, 3)).accepts(torch.zeros(2, 9, 4))
    assert not Space((3,)).accepts(torch.zeros(2, 9, 3))


def test_a_batch_maps_the_fields_that_are_there():
    batch = Batch(torch.ones(2), weight=torch.ones(2)).map(lambda field: field + 1)
    assert batch.x.tolist() == batch.weight.tolist() == [2, 2]
    assert batch.y is None


def test_sums_leave_out_what_is_masked():
    values = torch.tensor([[[1.0, 2.0], [4.0, 8.0]]])
    assert sum_features(values).tolist() == [15]
    assert sum_features(values, torch.tensor([[True, False]])).tolist() == [3]
    assert sum_features(values, torch.tensor([[[True, False], [True, True]]])).tolist() == [13]
    assert sum_features(torch.tensor([1.0, 2.0])).tolist() == [1, 2]


def test_sums_of_half_precision_keep_their_digits():
    assert sum_features(torch.ones(1, 257, dtype=torch.bfloat16)).tolist() == [257]  # 257 is not a bfloat16
    assert wide(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
