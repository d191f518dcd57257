"""What several rows attend to is kept once."""

from __future__ import annotations

import torch

from isthmus.nn.memory import together, which_memories


def test_beams_share_the_memory_of_their_sentence():
    assert which_memories(torch.arange(3).repeat_interleave(2), 3, 1) == (None, 2)
    assert which_memories(torch.tensor([1, 0, 2, 2, 5, 5]), 3, 2) == (None, 2)  # other beams of the same sentences
    memories, readers = which_memories(torch.tensor([0, 0, 5, 4]), 3, 2)  # the second sentence is done
    assert (memories.tolist(), readers) == ([0, 2], 2)
    memories, readers = which_memories(torch.tensor([4, 0]), 3, 2)  # one beam each is left
    assert (memories.tolist(), readers) == ([2, 0], 1)


def test_rows_in_a_mixed_order_have_one_each():
    for rows, n_memories, readers in (([0, 3, 1], 3, 2), ([0, 1, 4], 3, 2), ([2, 0, 1], 3, 1), ([], 3, 2)):
        memories, after = which_memories(torch.tensor(rows, dtype=torch.long), n_memories, readers)
        assert (memories.tolist(), after) == ([row // readers for row in rows], 1)


def test_neighbours_become_queries_of_one_memory():
    x = torch.arange(12.0).view(4, 1, 3)
    assert together(x, 2).equal(x.view(2, 2, 3))
    assert together(x, 1) is x
