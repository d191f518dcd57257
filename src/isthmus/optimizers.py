"""Optimisers as pure updates of lists of tensors, so that a whole training step is one function.

``state(parameters)`` makes the memory, ``update(parameters, gradients, state, learning_rate)`` moves
parameters and memory in place. The learning rate is a tensor of one number, so that a schedule can
move it without a new trace. Each gives the bits of its namesake in `torch.optim`; what is saved is
the bookkeeping round the kernel (150 µs a step for a small network).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from isthmus.checks import Checked, instance, integer, number

__all__ = ["LBFGS", "OPTIMIZERS", "SGD", "Adam", "AdamW", "Optimizer", "clip_gradients"]

Memory = dict[str, list[Tensor]]
_MOMENTUM = number(0, 1, open_high=True)


class Optimizer(Checked):
    """The base: a memory for each parameter, and one step."""

    def state(self, parameters: Sequence[Tensor]) -> Memory:
        """The memory before the first step."""
        raise NotImplementedError

    def update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, learning_rate: Tensor) -> None:
        """One step, in place."""
        raise NotImplementedError


class Adam(Optimizer):
    """Kingma & Ba 2015; ``weight_decay`` adds weight_decay · W to the gradient.

    Parameters
    ----------
    beta1, beta2 : float
        Decay of the moments' averages.
    eps : float
        Added to the root of the second moment.
    weight_decay : float
        On every parameter, biases too; `L2Weights` spares those.
    """

    allowed: ClassVar = {
        "beta1": _MOMENTUM,
        "beta2": _MOMENTUM,
        "eps": number(0, open_low=True),
        "weight_decay": number(0),
    }
    kernel = staticmethod(torch._fused_adam_)

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.weight_decay = weight_decay

    def state(self, parameters: Sequence[Tensor]) -> Memory:
        return {
            "mean": [torch.zeros_like(parameter) for parameter in parameters],
            "square": [torch.zeros_like(parameter) for parameter in parameters],
            "step": [torch.zeros((), device=parameter.device) for parameter in parameters[:1]],
        }

    def update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, learning_rate: Tensor) -> None:
        (step,) = state["step"]
        step += 1
        self.kernel(
            parameters,
            laid_out_like(parameters, gradients),
            state["mean"],
            state["square"],
            [],
            [step] * len(parameters),
            lr=learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


class AdamW(Adam):
    """Loshchilov & Hutter 2019: the decay acts on the weights, not through the moments."""

    kernel = staticmethod(torch._fused_adamw_)

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01) -> None:
        super().__init__(beta1, beta2, eps, weight_decay)


class SGD(Optimizer):
    """W ← W − η v, with v ← momentum · v + gradient (Sutskever et al. 2013 for ``nesterov``).

    Parameters
    ----------
    momentum : float
        What a step keeps of v.
    nesterov : bool
        Takes gradient + momentum · v in place of v.
    weight_decay : float
        Adds weight_decay · W to the gradient, biases too.
    """

    allowed: ClassVar = {"momentum": _MOMENTUM, "nesterov": instance(bool, "True or False"), "weight_decay": number(0)}

    def __init__(self, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    def state(self, parameters: Sequence[Tensor]) -> Memory:
        return {"velocity": [torch.zeros_like(parameter) for parameter in parameters if self.momentum]}

    def update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, learning_rate: Tensor) -> None:
        torch._fused_sgd_(
            parameters,
            laid_out_like(parameters, gradients),
            state["velocity"],
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
            is_first_step=False,
        )


class LBFGS(Optimizer):
    """Limited-memory BFGS on all rows at once, with a strong Wolfe line search (Nocedal & Wright, ch. 7).

    One epoch is ``iterations`` of it, about 1.1 evaluations of the objective each, with the same noise at
    every one. The line search finds the step, beginning at 1, so ``learning_rate``, ``schedule``,
    ``batch_size`` and ``compile`` do not matter. ``precision="64-true"`` takes it further: near a saddle
    the differences it compares are lost in single precision. torch's implementation.

    Parameters
    ----------
    iterations : int
        Per epoch.
    history_size : int
        Pairs remembered.
    tolerance : float
        Training stops after an epoch that lowers the objective by no more than this share of it.
    """

    allowed: ClassVar = {"iterations": integer(1), "history_size": integer(1), "tolerance": number(0)}

    def __init__(self, iterations: int = 20, history_size: int = 20, tolerance: float = 1e-9) -> None:
        self.iterations = iterations
        self.history_size = history_size
        self.tolerance = tolerance

    def torch_optimizer(self, parameters: list[Tensor]) -> torch.optim.LBFGS:
        """torch's own, which needs a closure and so runs outside the common step."""
        return torch.optim.LBFGS(
            parameters,
            lr=1.0,
            max_iter=self.iterations,
            max_eval=self.iterations * 3,
            history_size=self.history_size,
            tolerance_grad=1e-9,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

    def state(self, parameters: Sequence[Tensor]) -> Memory:
        return {}


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD, "lbfgs": LBFGS}


def laid_out_like(parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """The gradients in their parameters' order in memory, by which alone the fused kernels pair the two.

    A convolution of channels-last maps, for one, gives a gradient that lies otherwise than its kernel.
    """
    return [
        gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]


def clip_gradients(gradients: list[Tensor], limit: float) -> list[Tensor]:
    """Scale all gradients so that their joint Euclidean norm is at most ``limit`` (Pascanu et al. 2013)."""
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    return [gradient * factor for gradient in gradients]
