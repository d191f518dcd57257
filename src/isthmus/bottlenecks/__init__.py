"""Bottlenecks: features to the code. Adding one: its file, its line here, its test."""

from isthmus.bottlenecks.dense import Dense as Dense
from isthmus.bottlenecks.gaussian import Gaussian as Gaussian
from isthmus.bottlenecks.identity import Identity as Identity

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
