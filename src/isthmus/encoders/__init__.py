"""Encoders: x to features. Adding one: its file, its line here, its test."""

from isthmus.encoders.backbone import BackboneEncoder as BackboneEncoder
from isthmus.encoders.conv import ConvEncoder as ConvEncoder
from isthmus.encoders.mlp import MLPEncoder as MLPEncoder
from isthmus.encoders.rnn import RNNEncoder as RNNEncoder
from isthmus.encoders.transformer import TransformerEncoder as TransformerEncoder
from isthmus.encoders.unet import UNetEncoder as UNetEncoder
from isthmus.encoders.vit import ViTEncoder as ViTEncoder

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
