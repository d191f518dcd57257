"""Losses: the distance of output and target. Adding one: its file, its line here, its test."""

from isthmus.losses.absolute_error import AbsoluteError as AbsoluteError
from isthmus.losses.binary_cross_entropy import BinaryCrossEntropy as BinaryCrossEntropy
from isthmus.losses.cross_entropy import CrossEntropy as CrossEntropy
from isthmus.losses.deep_supervision import DeepSupervision as DeepSupervision
from isthmus.losses.dice import Dice as Dice
from isthmus.losses.focal import Focal as Focal
from isthmus.losses.gaussian_nll import GaussianNLL as GaussianNLL
from isthmus.losses.poisson_nll import PoissonNLL as PoissonNLL
from isthmus.losses.squared_error import SquaredError as SquaredError
from isthmus.losses.sum_loss import SumLoss as SumLoss
from isthmus.losses.tversky import Tversky as Tversky

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
