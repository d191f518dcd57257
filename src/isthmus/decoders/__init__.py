"""Decoders: the latent to the output. Adding one: its file, its line here, its test."""

from isthmus.decoders.mlp import MLPDecoder

__all__ = ["MLPDecoder"]
