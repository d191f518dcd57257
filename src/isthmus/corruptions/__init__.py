"""Corruptions: what a denoising model sees. Adding one: its file, its line here, its test."""

from isthmus.corruptions.gaussian_noise import GaussianNoise
from isthmus.corruptions.masking import Masking
from isthmus.corruptions.salt_and_pepper import SaltAndPepper

__all__ = ["GaussianNoise", "Masking", "SaltAndPepper"]
