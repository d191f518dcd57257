"""Networks that others trained: by name, and their weights from a file or from the Hugging Face hub."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from isthmus.errors import FileError, ParameterError
from isthmus.nn.resnet import RESNETS, ResNet

__all__ = ["HUB", "TIMM", "load_weights", "named_network", "network_name", "read_weights"]

TIMM = "timm/"
HUB = "hub:"
HUB_FILE = "model.safetensors"
_NAME = re.compile(r"\w+(\.\w+)*", re.ASCII)


def network_name(value: object) -> str | None:
    """A name for `named_network`: no path, no address, so that a saved model cannot make one be fetched."""
    if isinstance(value, str) and (value in RESNETS or (value.startswith(TIMM) and _NAME.fullmatch(value[5:]))):
        return None
    return f"one of {', '.join(map(repr, RESNETS))}, or a network of timm, such as 'timm/convnext_tiny'"


def named_network(name: str) -> nn.Module:
    """A network that gives a list of maps, with random weights.

    Raises
    ------
    ParameterError
        Where timm is missing, does not import, or has no such network.
    """
    if name in RESNETS:
        return ResNet(RESNETS[name])
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # a torchvision for another torch raises the second
        raise ParameterError(f"network={name!r} needs timm and torchvision (pip install timm): {error}") from error
    try:
        with torch.device("cpu"):  # timm reads numbers of tensors that it makes
            network: nn.Module = timm.create_model(name.removeprefix(TIMM), pretrained=False, features_only=True)
    except Exception as error:
        raise ParameterError(f"network={name!r}: timm cannot make it: {' '.join(str(error).split())}") from error
    return network.to(torch.empty(0).device)


def read_weights(source: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors by name, of a ``.safetensors`` file, a file of ``torch.save``, or "hub:owner/name[@revision]".

    No code of a file runs: of pickles torch reads tensors alone.

    Raises
    ------
    FileError
        Where there is no such file, or something else in it.
    """
    path = _fetched(os.fspath(source)) if str(source).startswith(HUB) else Path(source).expanduser()
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise FileError(f"weights: cannot read {source}: {reason}") from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        held = sorted(map(str, found))[:5] if isinstance(found, Mapping) else type(found).__name__
        raise FileError(f"weights: {source} must hold tensors by name (a state_dict), got {held}")
    return dict(found)


def _fetched(source: str) -> Path:
    """The file of a repository of the hub, downloaded where it is not in the cache."""
    repository, _, revision = source.removeprefix(HUB).partition("@")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise FileError(f"weights={source!r} needs huggingface_hub: pip install huggingface_hub") from error
    try:
        return Path(hf_hub_download(repository, HUB_FILE, revision=revision or None))
    except (OSError, ValueError) as error:  # what its errors derive from
        raise FileError(f"weights: cannot fetch {HUB_FILE} of {source}: {' '.join(str(error).split())}") from error


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: Any) -> None:
    """Fill all of the network; what the file has besides, such as a classifier, is left out.

    A dot and an underscore in a name are one, since timm's ``features_only`` makes ``stages_0`` of ``stages.0``.

    Raises
    ------
    FileError
        That names the first tensor that is missing or of another shape.
    """
    given = {_plain(name): value for name, value in weights.items()}
    chosen = {}
    for name, wanted in network.state_dict().items():
        found = given.get(_plain(name))
        if found is None and name.endswith("num_batches_tracked"):  # older files have none, and nothing reads it
            found = wanted
        if found is None or found.shape != wanted.shape:
            got = "none" if found is None else f"one of shape {tuple(found.shape)}"
            raise FileError(f"weights: {source} must hold {name!r} of shape {tuple(wanted.shape)}, got {got}")
        chosen[name] = found
    network.load_state_dict(chosen)


def _plain(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")
