"""Bricks that know nothing of autoencoders."""
