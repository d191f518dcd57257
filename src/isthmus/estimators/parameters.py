"""The parameters that all estimators share, checked before any work is done."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator

from isthmus import spec
from isthmus.checks import Check, check_parameters, choice, either, instance, integer, number, optional
from isthmus.errors import ParameterError
from isthmus.optimizers import Optimizer
from isthmus.part import Part
from isthmus.schedules import Schedule
from isthmus.text import TOKENIZERS, TextTokenizer, Tokenizer
from isthmus.training.callbacks import Callback
from isthmus.training.processes import current
from isthmus.training.trackers import callbacks_of

__all__ = ["Parameters", "seed_of"]


def _part(described: str) -> Check:
    return either(instance(str, f"the name of {described}"), instance(Part, "a part"))


@dataclass(eq=False, repr=False)
class Parameters(BaseEstimator):  # type: ignore[misc]
    """Parameters common to all estimators.

    Parameters
    ----------
    latent_dim : int or "auto"
        Width of the code. "auto" is a quarter of the input's numbers, between 2 and 32.
    encoder : str or Encoder
        "auto" picks by the data: for tables (and, flattened, for images) an `MLPEncoder` of 256 and
        128 SiLU units, chosen with ``learning_rate`` and ``schedule`` on eleven tables
        (``benchmarks/defaults.py``); for images a `ConvEncoder`; for texts and unequal series an `RNNEncoder`.
    decoder : str, Decoder or None
        None mirrors the encoder.
    bottleneck : str or Bottleneck
        The neck.
    corruption : str, Corruption or None
        What damages the encoder's input in training.
    loss : str or Loss
        The distance of output and target.
    penalties : sequence of str or Penalty
        Added to the estimator's own.
    trim : float
        Share of each batch, its worst rows, that the objective leaves out after the first tenth of the
        steps: training that outliers do not bend (`Trimmed`).
    scale : {"auto", None, "standard", "min_max", "robust"} or Scaler
        The map from the user's units to the network's, learnt from the training rows.
    tokenizer : {"word", "char", "bpe"} or Tokenizer
        What cuts texts into pieces, where rows are texts: see `isthmus.text.TextTokenizer`.
    optimizer : {"adam", "adamw", "sgd", "lbfgs"} or Optimizer
    learning_rate : float
    schedule : {None, "constant", "linear", "cosine"} or Schedule
    clip_norm : float or None
        Limit of the gradients' joint norm.
    batch_size : int
        Rows a step, at most all of them; over all processes, where there are several (`isthmus.launch`).
    accumulate : int
        Parts of a batch that run one after the other before the weights move, to save memory: the same step but for
        rounding. What is taken over a batch (KL sparsity's mean activations, free bits, batch normalisation, ``trim``)
        is then taken over a part.
    max_epochs : int
    validation_fraction : float
        Share of the rows held out, if there are at least 50 and no ``validation_data``; 0 holds out none.
    patience : int or None
        Epochs without a better ``monitor`` before training stops; None trains to the end. With
        validation the best epoch's weights are kept either way.
    monitor : str
        The figure of the history that decides; lower is better.
    device : str
        "auto" takes CUDA where there is one.
    precision : {"auto", "32-true", "64-true", "bf16-mixed"}
        Of training. "bf16-mixed" takes products in 16 bits and keeps weights, sums and losses at 32. "auto" does so
        on a processor with AMX, for convolutions of 32 channels or more (a U-Net trains 2 to 3 × as fast) and for
        texts read by 128 numbers or more a position (1.1 to 2.4 ×), and keeps 32 bits otherwise. What a trained model
        computes has 32 bits, or 64 after "64-true".
    compile : {"auto", False, "replay", True}
        How a step is run. "replay" records the first step and replays it, which leaves out Python and autograd, to
        the same bits; False runs each as it is written, so that Python in a part of your own, a counter or a print,
        runs in each. True compiles the record (forward, backward and optimiser as one function, by PyTorch's compiler
        and a C++ compiler, half a minute or more the first time, kept on disk): the same numbers but for rounding.
        "auto" replays the library's own parts, on a CPU, from 100 steps on, and compiles where the planned steps save
        more than twice what that takes. ``compile_`` tells what was chosen, and why.
    random_state : int, RandomState or None
    verbose : bool
        A progress bar on stderr.
    callbacks : sequence of Callback or str
        What happens between epochs. "csv", "tensorboard" and "mlflow" keep the figures of each epoch: `CSVLogger`,
        `TensorBoard` and `MLflow` with their defaults.
    checkpoint_dir : path or None
        A folder for checkpoints of `fit`, from which ``fit(..., resume=True)`` goes on: the last two are kept. One
        folder a run, with the figures of each epoch in ``history.csv``; `partial_fit` writes none.
    checkpoint_every : int or None
        Steps from one to the next. None: once the time since the last is 50 times its cost, at latest after 60 s.
    """

    latent_dim: int | str = "auto"
    encoder: Any = "auto"
    decoder: Any = None
    bottleneck: Any = "dense"
    corruption: Any = None
    loss: Any = "squared_error"
    penalties: Sequence[Any] = ()
    trim: float = 0.0
    scale: Any = "auto"
    tokenizer: Any = "word"
    optimizer: Any = "adam"
    learning_rate: float = 3e-3
    schedule: Any = "cosine"
    clip_norm: float | None = None
    batch_size: int = 128
    accumulate: int = 1
    max_epochs: int = 200
    validation_fraction: float = 0.1
    patience: int | None = 20
    monitor: str = "val_objective"
    device: str = "auto"
    precision: str = "auto"
    compile: bool | str = "auto"
    random_state: Any = None
    verbose: bool = False
    callbacks: Sequence[Callback | str] = ()
    checkpoint_dir: Any = None
    checkpoint_every: int | None = None

    allowed: ClassVar[dict[str, Check]] = {
        "latent_dim": either(integer(1), choice(["auto"])),
        "encoder": _part("an encoder"),
        "decoder": optional(_part("a decoder")),
        "bottleneck": _part("a bottleneck"),
        "corruption": optional(_part("a corruption")),
        "loss": _part("a loss"),
        "penalties": instance((list, tuple), "a list of penalties"),
        "trim": number(0, 1, open_high=True),
        "scale": optional(_part("a scaler")),
        "tokenizer": either(choice(TOKENIZERS), instance((Tokenizer, TextTokenizer), "a tokenizer")),
        "optimizer": either(instance(str, "the name of an optimizer"), instance(Optimizer, "an object of that kind")),
        "learning_rate": number(0, open_low=True),
        "schedule": optional(instance(str, "the name of a schedule"), instance(Schedule, "an object of that kind")),
        "clip_norm": optional(number(0, open_low=True)),
        "batch_size": integer(1),
        "accumulate": integer(1),
        "max_epochs": integer(1),
        "validation_fraction": number(0, 1, open_high=True),
        "patience": optional(integer(1)),
        "monitor": instance(str, "a name of the history"),
        "device": instance(str, "a device such as 'auto', 'cpu', 'cuda'"),
        "precision": choice(["auto", "32-true", "64-true", "bf16-mixed"]),
        "compile": choice(["auto", False, "replay", True]),
        "verbose": instance((bool, int), "True or False"),
        "callbacks": instance((list, tuple), "a list of callbacks"),
        "checkpoint_dir": optional(instance((str, PathLike), "a path")),
        "checkpoint_every": optional(integer(1)),
    }
    part_parameters: ClassVar[tuple[str, ...]] = (
        "encoder",
        "decoder",
        "bottleneck",
        "corruption",
        "loss",
        "optimizer",
        "schedule",
    )

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``encoder__hidden_dims`` on a name turns the name into its part first."""
        for key in sorted(params, key=lambda key: "__" in key):
            name, _, rest = key.partition("__")
            if name not in (known := self.get_params(deep=False)):
                raise ParameterError(f"{type(self).__name__} has no parameter {name!r}; it has {sorted(known)}")
            if not rest:
                super().set_params(**{name: params[key]})
                continue
            given = getattr(self, name, None)
            if given == "auto":
                raise ParameterError(f"{key}: {name}='auto' has no parameters yet; set {name} to a name first")
            if isinstance(given, str) and name in (*self.part_parameters, "scale"):
                given = spec.resolve("scaler" if name == "scale" else name, given, name)
                setattr(self, name, given)
            if hasattr(self, name) and not hasattr(given, "set_params"):
                raise ParameterError(f"{key}: {name}={given!r} has no parameters by name; set {name} to a part first")
            super().set_params(**{key: params[key]})
        return self

    def _check(self) -> None:
        check_parameters(type(self).__name__, vars(self), self.allowed)
        for name in self.part_parameters:
            if isinstance(given := getattr(self, name, None), Part):
                given.check()
        callbacks_of(self.callbacks)
        if self.device not in ("auto", "cpu") and not self.device.startswith("cuda"):
            raise ParameterError(f"device must be 'auto', 'cpu' or 'cuda', got {self.device!r}")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ParameterError(f"device must be 'auto' or 'cpu' where torch finds no GPU, got {self.device!r}")

    @property
    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def _seed(self) -> int:
        seed = seed_of(self.random_state)
        current().wait()
        return current().first(lambda: seed)


def seed_of(random_state: Any) -> int:
    """A seed of torch: the whole number itself, one drawn from a RandomState, or a new one for None."""
    if random_state is None:
        return secrets.randbelow(2**31)
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return int(random_state) % 2**63
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    given = repr(random_state)
    raise ParameterError(f"random_state must be None, a whole number or a RandomState, got {given}")
