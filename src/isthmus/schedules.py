"""Learning-rate schedules: a factor on the learning rate as a function of the share of training done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from isthmus.checks import Check, Checked, number

__all__ = ["SCHEDULES", "Constant", "Cosine", "Linear", "Schedule"]


class Schedule(Checked):
    """The base: a linear warm-up, then the leaf's own ``decay(share)``, which goes from 1 to ``floor``.

    Parameters
    ----------
    warmup : float
        Share of all steps over which the rate rises linearly from 0 to its full value.
    floor : float
        The factor at the last step.
    """

    allowed: ClassVar[Mapping[str, Check]] = {"warmup": number(0, 1, open_high=True), "floor": number(0, 1)}

    def __init__(self, warmup: float = 0.0, floor: float = 0.0) -> None:
        self.warmup = warmup
        self.floor = floor

    def factor(self, step: int, total: int) -> float:
        """The factor at a step, 0 ≤ step < total."""
        warm = self.warmup * total
        if step < warm:
            return (step + 1) / (warm + 1)
        return self.decay((step - warm) / max(total - warm, 1))

    def decay(self, share: float) -> float:
        """The factor after a share of the steps that follow the warm-up."""
        raise NotImplementedError


class Constant(Schedule):
    """1 after the warm-up."""

    def decay(self, share: float) -> float:
        return 1.0


class Linear(Schedule):
    """1 − (1 − floor) · share."""

    def decay(self, share: float) -> float:
        return 1 - (1 - self.floor) * share


class Cosine(Schedule):
    """floor + (1 − floor) ½ (1 + cos π share) (Loshchilov & Hutter 2017, without restarts)."""

    def decay(self, share: float) -> float:
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * share))


SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant, "linear": Linear, "cosine": Cosine}
