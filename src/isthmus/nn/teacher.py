"""What a decoder that generates step by step is shown while it is trained on all steps at once."""

from __future__ import annotations

import torch
from torch import Tensor

from isthmus.nn.share import drawn

__all__ = ["own_words", "teacher_forced"]


def teacher_forced(target: Tensor, mask: Tensor | None, classes: int | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """Target, mask and teacher, ``(B, T, …)``: at each position the teacher holds what precedes the target's.

    Real numbers (``classes`` None): the teacher is the target one step late, with zeros first. Classes
    0 … K − 1: the target gains the end K after its last unmasked position, the teacher the begin K + 1
    before its first, so all three have one position more. Padding comes last in a row.
    """
    if classes is None:
        return target, mask, torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], 1)
    end, begin = classes, classes + 1
    mask = torch.ones_like(target, dtype=torch.bool) if mask is None else mask
    ended = torch.where(mask, target, end)
    n = len(target)  # a batch may have no position at all
    grown = torch.cat([ended, target.new_full((n, 1), end)], 1)
    teacher = torch.cat([target.new_full((n, 1), begin), ended], 1)
    return grown, torch.cat([mask.new_ones(n, 1), mask], 1), teacher


def own_words(teacher: Tensor, said: Tensor, share: Tensor) -> Tensor:
    """The teacher with a random share of its positions, never the first, replaced by what was said one step before.

    Both passes see all steps at once (Mihaylova & Martins 2019), so that what is said follows the teacher and not
    what was said earlier; Bengio et al. 2015 go step by step.
    """
    own = torch.cat([teacher[:, :1], said[:, :-1].to(teacher.dtype)], 1)
    swapped = drawn(teacher, lambda like: torch.rand(like.shape[:2], device=like.device)) < share
    return torch.where(swapped if teacher.dim() == 2 else swapped.unsqueeze(-1), own, teacher)
