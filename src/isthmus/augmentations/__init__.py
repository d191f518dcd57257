"""Augmentations: random changes of training patches. Adding one: its file, its line here, its test."""

from isthmus.augmentations.elastic import Elastic as Elastic
from isthmus.augmentations.flip import Flip as Flip
from isthmus.augmentations.intensity import Intensity as Intensity
from isthmus.augmentations.quarter_turn import QuarterTurn as QuarterTurn

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
