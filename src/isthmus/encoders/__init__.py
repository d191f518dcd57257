"""Encoders: x to features. Adding one: its file, its line here, its test."""

from isthmus.encoders.mlp import MLPEncoder

__all__ = ["MLPEncoder"]
