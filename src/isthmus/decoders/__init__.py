"""Decoders: the latent to the output. Adding one: its file, its line here, its test."""

from isthmus.decoders.conv import ConvDecoder as ConvDecoder
from isthmus.decoders.mlp import MLPDecoder as MLPDecoder
from isthmus.decoders.rnn import RNNDecoder as RNNDecoder
from isthmus.decoders.transformer import TransformerDecoder as TransformerDecoder
from isthmus.decoders.unet import UNetDecoder as UNetDecoder
from isthmus.decoders.vit import ViTDecoder as ViTDecoder

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
