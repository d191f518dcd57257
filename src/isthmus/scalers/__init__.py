"""Scalers: the user's units to the network's. Adding one: its file, its line here, its test."""

from isthmus.scalers.affine import (
    AutoScaler as AutoScaler,
    MinMaxScaler as MinMaxScaler,
    StandardScaler as StandardScaler,
    UnitScaler as UnitScaler,
)
from isthmus.scalers.robust import RobustScaler as RobustScaler

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
