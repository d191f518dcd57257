"""Losses: the distance of output and target. Adding one: its file, its line here, its test."""

from isthmus.losses.absolute_error import AbsoluteError
from isthmus.losses.binary_cross_entropy import BinaryCrossEntropy
from isthmus.losses.gaussian_nll import GaussianNLL
from isthmus.losses.poisson_nll import PoissonNLL
from isthmus.losses.squared_error import SquaredError

__all__ = ["AbsoluteError", "BinaryCrossEntropy", "GaussianNLL", "PoissonNLL", "SquaredError"]
