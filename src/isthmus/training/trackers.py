"""Where the figures of a training are kept besides ``history_``: a CSV file, TensorBoard, MLflow.

``callbacks=["csv"]``, ``["tensorboard"]`` and ``["mlflow"]`` stand for the defaults. A tracker changes no weight, and
one that fails in the midst of a training is warned of and left out: no figure is worth a run.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import ParameterError, UnsupportedError
from isthmus.training.callbacks import Callback

if TYPE_CHECKING:
    from isthmus.training.loop import Loop

__all__ = ["TRACKERS", "CSVLogger", "MLflow", "TensorBoard", "Tracker", "callbacks_of"]

logger = logging.getLogger("isthmus")

Figures = Mapping[str, float]


class Tracker(Callback):
    """What is told each epoch's figures. One of your own overrides `begin`, `tell` and `finish`.

    A run that goes on from a checkpoint begins with the epochs that it has behind it.
    """

    everywhere = False

    def begin(self, loop: Loop) -> None:
        """Before the first step; what it raises ends the training before it begins."""

    def tell(self, history: Sequence[Figures]) -> None:
        """After each epoch: the figures of all so far, the newest last."""

    def finish(self, failed: bool) -> None:
        """After the last step, or after an error."""

    def on_fit_start(self, loop: Loop) -> None:
        self._failed = False
        self.begin(loop)

    def on_epoch_end(self, loop: Loop) -> None:
        self._guarded(partial(self.tell, loop.state.history))

    def on_fit_end(self, loop: Loop) -> None:
        self._guarded(partial(self.finish, sys.exception() is not None))

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            if not self._failed:
                action()
        except Exception as error:
            self._failed, told = True, f"{type(error).__name__}: {' '.join(str(error).split())}"
            logger.warning("%s failed and is left out from here on: %s", type(self).__name__, told)


class CSVLogger(Tracker):
    """A line an epoch, with the names in the first; the file is replaced as a whole after each.

    With a ``checkpoint_dir`` there is always one, ``history.csv``, without being asked for.

    Parameters
    ----------
    path : path
        Its folder is made where there is none.
    """

    def __init__(self, path: str | os.PathLike[str] = "history.csv") -> None:
        self.path = path

    def begin(self, loop: Loop) -> None:
        try:
            Path(self.path).absolute().parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParameterError(f"CSVLogger: path cannot be written: {error}") from error
        if loop.state.history:
            self.tell(loop.state.history)

    def tell(self, history: Sequence[Figures]) -> None:
        names = list(dict.fromkeys(name for figures in history for name in figures))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        beside = (path := Path(self.path).absolute()).with_name(f".{path.name}.partial")
        beside.write_text(text.getvalue(), encoding="utf-8")
        beside.replace(path)


class TensorBoard(Tracker):
    """Curves for ``tensorboard --logdir FOLDER``, by the writer of PyTorch.

    Parameters
    ----------
    folder : path
        One a run.
    """

    def __init__(self, folder: str | os.PathLike[str] = "runs/isthmus") -> None:
        self.folder = folder

    def begin(self, loop: Loop) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UnsupportedError("TensorBoard needs tensorboard: pip install 'isthmus[tracking]'") from error
        done = len(loop.state.history)
        try:
            self._writer: Any = SummaryWriter(os.fspath(self.folder), purge_step=done + 1 if done else None)
        except OSError as error:
            raise ParameterError(f"TensorBoard: folder cannot be written: {error}") from error

    def tell(self, history: Sequence[Figures]) -> None:
        for name, value in _newest(history):
            self._writer.add_scalar(name, value, len(history))
        self._writer.flush()

    def finish(self, failed: bool) -> None:
        self._writer.close()


class MLflow(Tracker):
    """A run of MLflow: the loop's settings, and each epoch's figures as metrics.

    A run that goes on from a checkpoint is a new one in MLflow, with the epochs behind it.

    Parameters
    ----------
    uri : str
        A file of SQLite, or a server.
    experiment : str
        It is made where there is none.
    run_name : str, optional
    """

    def __init__(self, uri: str = "sqlite:///mlflow.db", experiment: str = "isthmus", run_name: Any = None) -> None:
        self.uri, self.experiment, self.run_name = uri, experiment, run_name

    def begin(self, loop: Loop) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UnsupportedError("MLflow needs mlflow: pip install mlflow") from error
        try:
            self._client: Any = MlflowClient(tracking_uri=self.uri)
            found = self._client.get_experiment_by_name(self.experiment)
            number = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
            self._run: str = self._client.create_run(number, run_name=self.run_name).info.run_id
            for name, value in _settings(loop).items():
                self._client.log_param(self._run, name, value)
            for done in range(1, len(loop.state.history) + 1):
                self.tell(loop.state.history[:done])
        except Exception as error:
            raise ParameterError(f"MLflow: uri={self.uri!r} cannot be used: {' '.join(str(error).split())}") from error

    def tell(self, history: Sequence[Figures]) -> None:
        for name, value in _newest(history):
            self._client.log_metric(self._run, name, value, step=len(history))

    def finish(self, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


def _newest(history: Sequence[Figures]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in history[-1].items() if name != "epoch"]


def _settings(loop: Loop) -> dict[str, Any]:
    """What the loop knows of how it trains."""
    told: dict[str, Any] = {"learning_rate": loop.base_rate, "max_epochs": loop.max_epochs, "precision": loop.precision}
    told |= {"optimizer": type(loop.optimizer).__name__, "steps_per_epoch": loop.source.steps_per_epoch}
    return told | {"parameters": sum(parameter.numel() for parameter in loop.parameters)}


TRACKERS: dict[str, type[Tracker]] = {"csv": CSVLogger, "tensorboard": TensorBoard, "mlflow": MLflow}


def callbacks_of(given: Sequence[Callback | str]) -> list[Callback]:
    """The callbacks, where a name stands for a tracker.

    Raises
    ------
    ParameterError
        Where it is neither.
    """
    found: list[Callback] = []
    for one in given:
        callback = TRACKERS[one]() if isinstance(one, str) and one in TRACKERS else one
        if not isinstance(callback, Callback):
            told = repr(one) if isinstance(one, str) else type(one).__name__
            raise ParameterError(f"callbacks must hold Callback objects or names of {sorted(TRACKERS)}, got {told}")
        found.append(callback)
    return found
