"""The base of every part, and the eight kinds in a few methods each.

A part is a plain ``nn.Module`` that remembers its constructor's arguments, is built for the
spaces it meets (``build`` returns the part; ``part.out`` is its own space), and holds only its
own maths. Kinds are abstract, parts are final: a variation wraps a part and forwards.
"""

from __future__ import annotations

import inspect
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.checks import Check, check_parameters, number
from isthmus.errors import ParameterError, ShapeError, UnsupportedError
from isthmus.types import Features, Latent, Noise, Seen, Space, Trace

__all__ = ["Augmentation", "Bottleneck", "Corruption", "Decoder", "Encoder", "Loss", "Part", "Penalty", "Scaler"]


class Part(nn.Module):
    """What all parts share: parameters by name, building, and the hooks of training.

    Hooks, called by the training loop where a part defines them: ``before_fit(trace)`` with one
    pass over the first batch, ``after_step(learning_rate)``, ``after_fit(latents)`` with the codes
    of the training rows.

    ``first_weights`` names the arguments that decide nothing but the weights to begin with: a trained
    model is built again without them.
    """

    kind: ClassVar[str]
    formula: ClassVar[str] = ""
    first_weights: ClassVar[tuple[str, ...]] = ()
    allowed: ClassVar[Mapping[str, Check]] = {}
    out: Space | None = None

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def part_name(cls) -> str:
        """``"squared_error"`` for ``SquaredError``, ``"mlp"`` for ``MLPEncoder``."""
        stem = cls.__name__.removesuffix(cls.kind.capitalize()) or cls.__name__
        if cls.kind in ("encoder", "decoder"):
            return stem.lower()
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()

    @classmethod
    def parameter_names(cls) -> list[str]:
        """The constructor's arguments, in order."""
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments as given, in scikit-learn's manner."""
        params: dict[str, Any] = {}
        for name in self.parameter_names():
            value = params[name] = getattr(self, name)
            if deep and hasattr(value, "get_params"):
                params |= {f"{name}__{key}": inner for key, inner in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor by name; the part must be built again afterwards."""
        names = self.parameter_names()
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if name not in names:
                raise ParameterError(f"{type(self).__name__} has no parameter {name!r}; it has {names}")
            if rest:
                getattr(self, name).set_params(**{rest: value})
            else:
                setattr(self, name, value)
        return self

    def check(self) -> None:
        """Raise `ParameterError` where an argument is not allowed."""
        check_parameters(type(self).__name__, self.get_params(deep=False), self.allowed)

    def build(self, space: Space) -> Self:
        """Make the parameters for this space. The base keeps the space as it is."""
        self.check()
        self.out = Space.of(space)
        return self

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.get_params(deep=False).items())


def built(part: Part) -> Space:
    """The part's space, or a named error where ``build`` has not run."""
    if part.out is None:
        raise ShapeError(f"{type(part).__name__} is not built: call build(space) before forward")
    return part.out


class Scaler(Part):
    """A fixed, invertible map between the user's units and the network's."""

    kind = "scaler"

    @abstractmethod
    def fit(self, x: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Self:
        """Learn the map from the training rows ``(n, *shape)``; a row of weight two counts as two rows."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]: ...

    @abstractmethod
    def inverse(self, x: Tensor) -> Tensor:
        """The network's units back to the user's."""

    @abstractmethod
    def log_volume(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """log |det ∂scaled/∂x|, ``(B,)``: added to a log-density of scaled data, it gives that of
        the data as given."""


class Augmentation(Part):
    """A random change of training patches: where each position is read from, and how bright what is read is.

    It works on scaled data, ahead of the corruption, and in training alone. All randomness is the
    generator's. ``exact`` says that `place` gives whole positions of the patch, so that nothing need be
    interpolated.
    """

    kind = "augmentation"
    exact: ClassVar[bool] = True

    def place(self, coordinates: Tensor, generator: torch.Generator) -> Tensor:
        """Where each position of the patches is read from, of where it was read from so far.

        ``(B, *size, dims)`` in the patch's own frame, 0 … size − 1 along each axis: whole numbers, or
        real ones where an augmentation is not ``exact``.
        """
        return coordinates

    def shade(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The values ``(B, *size, C)`` of x, changed; a target is left as it is."""
        return x


class Corruption(Part):
    """Damages what the encoder sees; the target stays whole.

    ``hidden_only`` says that the loss counts what it hid alone; ``real_only`` that it takes no classes.
    """

    kind = "corruption"
    hidden_only: bool = False
    real_only: ClassVar[bool] = False

    def build(self, space: Space) -> Self:
        super().build(space)
        if self.real_only and built(self).classes is not None:
            raise ShapeError(f"{self.part_name()} needs real numbers; TokenMasking and TokenDropout take classes")
        return self

    @abstractmethod
    def forward(self, seen: Seen, noise: Noise = torch.randn_like) -> Seen: ...


class Encoder(Part):
    """Reads x, gives features: ``(B, D)``, or ``(B, *positions, D)`` with skips if it has any.

    ``any_size`` says that its line is built for positions of any number, as a U-Net's is. ``total_stride``,
    which `build` sets for a map, is how many positions of x, along each axis, go to one of the map: moved by a
    multiple of it, a picture gives the same map, moved. Empty where that is not known. ``sequences`` says that
    a sample is one, ``(T, D)`` or T classes.
    """

    kind = "encoder"
    any_size: ClassVar[bool] = False
    sequences: ClassVar[bool] = False
    total_stride: Sequence[int] = ()

    @classmethod
    def decoder_name(cls) -> str:
        """The name of the decoder that mirrors it: its own, where it says nothing else."""
        return cls.part_name()

    @abstractmethod
    def forward(self, seen: Seen) -> Features: ...


class Bottleneck(Part):
    """The neck: the last axis of the features becomes the code."""

    kind = "bottleneck"

    @abstractmethod
    def build(self, space: Space, latent_dim: int | None = None) -> Self: ...

    @abstractmethod
    def forward(self, features: Features, noise: Noise = torch.randn_like) -> Latent: ...

    def sample(self, n: int, noise: Noise = torch.randn_like) -> Latent:
        """Draw n codes from the prior; refused where there is none."""
        raise UnsupportedError(
            f"{type(self).__name__} has no prior to sample from; use VariationalAutoencoder or bottleneck='gaussian'"
        )


class Decoder(Part):
    """Reads the latent, gives the output in the space that the loss asks for.

    One that generates step by step sets ``stepwise = True`` (`build` may take it back for real numbers) and adds
    ``start(latent) -> state`` and ``step(previous, state) -> (output, state)``, where a state has
    ``select(rows)``; trained all at once, it is called with the ``teacher``, the target shifted by one.
    """

    kind = "decoder"
    stepwise: bool = False

    @abstractmethod
    def build(self, space: Space, out: Space | None = None, target: Space | None = None) -> Self: ...

    @abstractmethod
    def forward(self, latent: Latent, teacher: Tensor | None = None) -> Tensor: ...

    @classmethod
    def mirror(cls, encoder: Encoder) -> Decoder:
        """The decoder that undoes this encoder."""
        raise UnsupportedError(f"{cls.__name__} mirrors no encoder; give decoder= yourself")


class Loss(Part):
    """Owns the road from output to prediction, and the distance of the two."""

    kind = "loss"
    is_likelihood: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float] | None] = None
    whole: ClassVar[bool] = False

    def output_shape(self, target: Space) -> Space:
        """The space that the decoder must give for this target."""
        if target.classes is not None:
            wanted = "one of labels, such as 'cross_entropy', 'dice', 'focal' or 'tversky'"
            raise ShapeError(
                f"loss must be {wanted}, for a target of {target.classes} classes, got {self.part_name()!r}"
            )
        return Space(target.shape)

    @abstractmethod
    def forward(self, output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B,)``: summed over unmasked features; nats where `is_likelihood`."""

    def mean(self, output: Tensor) -> Tensor:
        """The prediction, in the target's (scaled) units; of classes, the probability of each."""
        return output

    def sample(self, output: Tensor, noise: Noise = torch.randn_like) -> Tensor:
        """One draw from p(target | output); the prediction where the loss is no likelihood."""
        return self.mean(output)


class Penalty(Part):
    """Reads the trace and the model, gives ``(B,)``, or a scalar for a statistic of batch or weights.

    ``weight`` is the argument as given; the buffer ``strength`` starts there, is what the objective
    multiplies by, and is what a schedule moves.
    """

    kind = "penalty"
    input_grad: ClassVar[bool] = False
    strength: Tensor
    allowed: ClassVar[Mapping[str, Check]] = {"weight": number(0)}

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        strength = float(weight) if isinstance(weight, (int, float)) else 0.0
        self.register_buffer("strength", torch.tensor(strength, dtype=torch.float64), persistent=False)

    def build(self, space: Space) -> Self:
        super().build(space)
        self.strength.fill_(self.weight)
        return self

    def attach(self, model: nn.Module) -> None:
        """Called with the model that is about to be trained, and where its parameters become other tensors, for a
        hook that moves its weights."""

    @abstractmethod
    def forward(self, trace: Trace, model: nn.Module, noise: Noise = torch.randn_like) -> Tensor: ...
