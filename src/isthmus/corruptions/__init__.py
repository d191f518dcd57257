"""Corruptions: what a denoising model sees. Adding one: its file, its line here, its test."""

from isthmus.corruptions.gaussian_noise import GaussianNoise as GaussianNoise
from isthmus.corruptions.masking import Masking as Masking
from isthmus.corruptions.patch_masking import PatchMasking as PatchMasking
from isthmus.corruptions.salt_and_pepper import SaltAndPepper as SaltAndPepper
from isthmus.corruptions.token_dropout import TokenDropout as TokenDropout
from isthmus.corruptions.token_masking import TokenMasking as TokenMasking

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
