"""What makes a run the same run, and what its last bits may depend on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from isthmus.errors import CheckpointError
from isthmus.training.precision import has_matrix_tiles
from isthmus.training.processes import current

__all__ = ["compare", "versions", "warn_of_other_bits"]

logger = logging.getLogger("isthmus")


def compare(folder: Path, saved: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Raise `CheckpointError` where a parameter or the data are not those of the saved run."""
    changed = sorted(name for name in {*saved, *given} if saved.get(name) != given.get(name))
    if changed:
        told = ", ".join(
            "the data" if name == "data" else f"{name} (was {saved.get(name)}, is {given.get(name)})"
            for name in changed
        )
        raise CheckpointError(
            f"checkpoint_dir {str(folder)!r} holds another run, it differs in {told}: give what it was fitted "
            "with, or name another folder"
        )


def versions(device: torch.device) -> dict[str, str]:
    """What the same numbers of the same run may differ by, in their last bits."""
    processor = torch.backends.cpu.get_cpu_capability() + (" with AMX" if has_matrix_tiles() else "")
    told = {"torch": torch.__version__, "processor": processor, "device": device.type}
    return told | {"number of processes": str(current().size)}


def warn_of_other_bits(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """A run goes on elsewhere, but not in silence."""
    for name, value in now.items():
        if saved.get(name, value) != value:
            logger.warning("%s was %s and is %s: the run goes on, its last bits may differ", name, saved[name], value)
