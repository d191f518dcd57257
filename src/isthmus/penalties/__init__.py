"""Penalties: what shapes a model besides its loss. Adding one: its file, its line here, its test."""

from isthmus.penalties.contractive import Contractive as Contractive
from isthmus.penalties.kl_prior import KLPrior as KLPrior
from isthmus.penalties.kl_sparsity import KLSparsity as KLSparsity
from isthmus.penalties.l1_activity import L1Activity as L1Activity
from isthmus.penalties.l1_weights import L1Weights as L1Weights
from isthmus.penalties.l2_weights import L2Weights as L2Weights

__all__ = sorted(name for name, found in globals().items() if isinstance(found, type))
