"""Bottlenecks: features to the code. Adding one: its file, its line here, its test."""

from isthmus.bottlenecks.dense import Dense
from isthmus.bottlenecks.gaussian import Gaussian
from isthmus.bottlenecks.identity import Identity

__all__ = ["Dense", "Gaussian", "Identity"]
