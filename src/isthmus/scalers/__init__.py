"""Scalers: the user's units to the network's. Adding one: its file, its line here, its test."""

from isthmus.scalers.affine import AutoScaler, MinMaxScaler, StandardScaler, UnitScaler

__all__ = ["AutoScaler", "MinMaxScaler", "StandardScaler", "UnitScaler"]
