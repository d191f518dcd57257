"""Weights, gradients and the optimiser's memory cut over the processes (FSDP, Zhao et al. 2023; `fully_shard`).

Each process keeps its part between the steps; in a pass it has all weights. So what is saved is memory of the optimiser
and of gradients, about three quarters of all with Adam. A step and what reads weights between steps, callbacks and
checkpoints, see whole tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from isthmus.training.state import whole

if TYPE_CHECKING:
    from isthmus.training.loop import Loop

__all__ = ["gathered", "sharded"]


@contextmanager
def sharded(loop: Loop) -> Iterator[None]:
    """Within it each process has its part; then again all of it."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import distribute_tensor

    step, state = loop.step, loop.state
    mesh = init_device_mesh(loop.parameters[0].device.type, (loop.processes.size,))
    fully_shard(step, mesh=mesh, reshard_after_forward=True)
    cut: list[Any] = [parameter for parameter in step.parameters() if parameter.requires_grad]
    for name, tensors in state.memory.items():
        if len(tensors) == len(cut):
            state.memory[name] = [
                distribute_tensor(tensor, mesh, parameter.placements, src_data_rank=None)
                if tensor.shape == parameter.shape
                else tensor
                for tensor, parameter in zip(tensors, cut, strict=True)
            ]
    step.attach()
    loop.parameters, loop.is_cut = cut, True
    yield
    _make_whole(step)
    step.attach()
    loop.is_cut = False
    state.memory = {name: [whole(tensor) for tensor in tensors] for name, tensors in state.memory.items()}
    loop.parameters = [parameter for parameter in step.parameters() if parameter.requires_grad]


@torch.no_grad()
def _make_whole(step: nn.Module) -> None:
    """Put plain parameters in the place of those that are cut, one where layers share one, and let go of them."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in step.modules():
        module._load_state_dict_post_hooks.clear()  # `fully_shard` looks for its own parameters there
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter not in made:
                made[parameter] = nn.Parameter(whole(parameter).clone(), parameter.requires_grad)
            setattr(module, name, made[parameter])


@contextmanager
def gathered(step: Any) -> Iterator[None]:
    """Within it the module has all weights, to be read."""
    step.unshard()
    try:
        yield
    finally:
        step.reshard()
