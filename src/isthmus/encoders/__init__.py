"""Encoders: x to features. Adding one: its file, its line here, its test."""

from isthmus.encoders.mlp import MLPEncoder as MLPEncoder

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
