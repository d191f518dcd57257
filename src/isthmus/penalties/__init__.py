"""Penalties: what shapes a model besides its loss. Adding one: its file, its line here, its test."""

from isthmus.penalties.contractive import Contractive
from isthmus.penalties.kl_prior import KLPrior
from isthmus.penalties.kl_sparsity import KLSparsity
from isthmus.penalties.l1_activity import L1Activity
from isthmus.penalties.l1_weights import L1Weights
from isthmus.penalties.l2_weights import L2Weights

__all__ = ["Contractive", "KLPrior", "KLSparsity", "L1Activity", "L1Weights", "L2Weights"]
