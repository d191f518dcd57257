"""Start a function in several processes, or join those that torchrun, Kubernetes or Ray have started."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from isthmus.checks import check_parameters, choice, integer, number, optional
from isthmus.errors import ContactError, IsthmusError, ParameterError, TrainingError, UnsupportedError
from isthmus.training.processes import current, joined

__all__ = ["launch"]

T = TypeVar("T")
ALLOWED = {
    "processes": optional(integer(1)),
    "strategy": choice(["ddp", "fsdp"]),
    "timeout": number(0, open_low=True),
}

for name in ("lightning_fabric.utilities.distributed", "lightning_fabric.utilities.rank_zero"):
    logging.getLogger(name).setLevel(logging.WARNING)  # which process is which, and how many, by each


def launch(
    function: Callable[..., T],
    *arguments: Any,
    processes: int | None = None,
    strategy: str = "ddp",
    timeout: float = 60.0,
) -> T:
    """Call ``function(*arguments)`` in several processes, in which estimators are fitted by all together.

    ``isthmus.launch(Autoencoder().fit, X, processes=2)`` gives the fitted estimator. Under torchrun, in the pods of a
    PyTorchJob and in the workers of Ray Train the processes are there already, and each calls the function. All of
    them must fit the same to the same data: ``batch_size`` is the batch's over all processes, and each computes its
    part of the rows. Process 0 alone writes files.

    Parameters
    ----------
    function : callable
        Where processes are to be started, a method or a function of a module, which they can import.
    arguments
        What it is called with.
    processes : int, optional
        How many to start on this machine. None: those that a launcher has started, else this one alone.
    strategy : {"ddp", "fsdp"}
        "ddp": each process has all of the model. "fsdp": between steps it has its part of the weights, and its part of
        gradients and optimiser's memory always (`isthmus.training.sharded`).
    timeout : float
        Seconds that a process waits in training for one that does not answer.

    Returns
    -------
    object
        What the function gave: in processes that were there already its own, else that of process 0.

    Raises
    ------
    UnsupportedError
        Where processes are to be started and Lightning Fabric is not installed.
    ContactError
        Where a process was killed, or did not answer in time.
    """
    given = {"processes": processes, "strategy": strategy, "timeout": timeout}
    check_parameters("launch", given, ALLOWED)
    if not current().alone:
        return function(*arguments)
    if dist.is_available() and dist.is_initialized():
        return _together(function, arguments, processes, strategy)
    if (there := int(os.environ.get("WORLD_SIZE", 1))) > 1 and "RANK" in os.environ:
        _join_the_launched(there, timeout)
        return _together(function, arguments, processes, strategy)
    if processes in (None, 1):
        return function(*arguments)
    return _in_new_processes(function, arguments, processes or 1, strategy, timeout)


def _together(function: Callable[..., T], arguments: tuple[Any, ...], processes: int | None, strategy: str) -> T:
    if processes not in (None, dist.get_world_size()):
        there = dist.get_world_size()
        raise ParameterError(f"launch: processes must be None or {there}, which were started, got {processes!r}")
    with joined(strategy):
        return function(*arguments)


# ---------------------------------------------------------------------- Fabric


def _fabric(devices: int, machines: int, timeout: float, environment: Any = None) -> Any:
    """Lightning Fabric's DDP: one process a GPU where there are enough, else on the processor."""
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise UnsupportedError("several processes need Lightning Fabric: pip install 'isthmus[distributed]'") from error
    on_gpus = torch.cuda.device_count() >= devices
    strategy = DDPStrategy(
        process_group_backend="cpu:gloo,cuda:nccl" if on_gpus else "gloo",
        timeout=timedelta(seconds=timeout),
        start_method="spawn" if environment is None else "popen",
    )
    return Fabric(
        accelerator="cuda" if on_gpus else "cpu",
        devices=devices,
        num_nodes=machines,
        strategy=strategy,
        plugins=[] if environment is None else [environment],
    )


def _join_the_launched(there: int, timeout: float) -> None:
    """Meet the other processes, at the address that the launcher gave."""
    if missing := sorted({"MASTER_ADDR", "MASTER_PORT"} - os.environ.keys()):
        raise ParameterError(f"launch: RANK and WORLD_SIZE={there} are set, and so must be {', '.join(missing)}")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    _fabric(here, there // here, timeout, _environment()).launch()


def _environment() -> Any:
    from lightning_fabric.plugins.environments.kubeflow import KubeflowEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    return TorchElasticEnvironment() if TorchElasticEnvironment.detect() else KubeflowEnvironment()


# ---------------------------------------------------------------------- new processes


def _in_new_processes(
    function: Callable[..., T], arguments: tuple[Any, ...], processes: int, strategy: str, timeout: float
) -> T:
    fabric = _fabric(processes, 1, timeout)
    with tempfile.TemporaryDirectory() as place:
        folder, failure = Path(place), None
        try:
            fabric.launch(_call, function, arguments, strategy, folder)
        except ProcessExitedException as error:
            how = signal.Signals(-error.exit_code).name if error.exit_code < 0 else f"status {error.exit_code}"
            failure = ContactError(f"process {error.error_index} of {processes} ended by {how}")
        except ProcessRaisedException as error:
            told = str(error).strip().splitlines()[-1]
            raise TrainingError(f"process {error.error_index} of {processes} failed: {told}") from error
        except (AttributeError, pickle.PicklingError) as error:
            raise ParameterError(
                f"launch: function and arguments must be what a new process can import or unpickle: {error}"
            ) from error
        made = [_read(path) for path in sorted(folder.glob("[0-9]*"))]
    errors = [error for _, error in made if error is not None]
    if errors or failure:
        raise min([*errors, *([failure] if failure else [])], key=lambda error: isinstance(error, ContactError))
    result: T = made[0][0]
    return result


def _call(fabric: Any, function: Callable[..., Any], arguments: tuple[Any, ...], strategy: str, folder: Path) -> None:
    """In a new process: call the function, and leave what it gave, or its error, in the folder."""
    result, error = None, None
    with joined(strategy) as processes:
        try:
            result = function(*arguments)
        except IsthmusError as raised:
            error = raised
    beside, path = folder / f".{processes.rank}", folder / f"{processes.rank:06d}"
    with beside.open("wb") as file:
        pickle.dump((result if processes.is_first else None, error), file)
    beside.replace(path)
    if isinstance(error, ContactError):
        sys.exit(1)  # so that those which hang are ended


def _read(path: Path) -> tuple[Any, IsthmusError | None]:
    with path.open("rb") as file:  # of this machine's own processes, in a folder that is theirs alone
        made: tuple[Any, IsthmusError | None] = pickle.load(file)
    return made
