"""The straight line: scaler, corruption, encoder, bottleneck, decoder, with the loss that reads its end."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from isthmus.errors import ShapeError
from isthmus.nn.conv import first
from isthmus.nn.teacher import own_words, teacher_forced
from isthmus.part import Bottleneck, Corruption, Decoder, Encoder, Loss, Part, Scaler, built
from isthmus.types import Batch, Bypass, Features, Latent, Noise, Seen, Space, Trace

__all__ = ["EncoderDecoder"]


class EncoderDecoder(nn.Module):
    """One pass: x ─ scaler ─ corruption ─ encoder ─ bottleneck ─ decoder ─ output.

    It has three verbs: `encode`, `decode`, and `forward` that joins them. It alone scales, shifts a
    stepwise decoder's target and repeats rows for several samples, so that no part hears of either. With
    ``reads_itself`` a share ``own_share`` of what the decoder is shown in training is its own: see
    `ScheduledSampling`.

    Parameters
    ----------
    encoder, bottleneck, decoder, loss : parts
        Not yet built; `build` does that, in the order of the line.
    scaler, corruption : parts, optional
    """

    own_share: Tensor

    def __init__(
        self,
        encoder: Encoder,
        bottleneck: Bottleneck,
        decoder: Decoder,
        loss: Loss,
        scaler: Scaler | None = None,
        corruption: Corruption | None = None,
    ) -> None:
        super().__init__()
        self.scaler = scaler
        self.corruption = corruption
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.loss = loss
        self.space = self.target = Space(())
        self.scales_target = True
        self.reads_itself = False
        self.register_buffer("own_share", torch.tensor(0.0), persistent=False)

    # ------------------------------------------------------------------ shapes, once

    def build(
        self,
        space: Space,
        target: Space | None = None,
        latent_dim: int | None = None,
        scales_target: bool | None = None,
    ) -> Self:
        """Build every part for inputs of this space (and targets of that one), then rehearse.

        ``scales_target`` says whether targets are in the units of x, and so share its scaler; None says so
        of real ones in the shape of x.
        """
        self.space = Space.of(space)
        self.target = Space.of(target) if target is not None else self.space._replace(condition=0)
        alike = self.target.classes is None and self.target.shape == self.space.shape
        self.scales_target = alike if scales_target is None else scales_target
        if self.scaler is not None:
            self.scaler.build(self.space)
        if self.corruption is not None:
            self.corruption.build(self.space)
        features = built(self.encoder.build(self.space))
        _hold_patches(self.encoder, self.corruption)
        latent = built(self.bottleneck.build(features, latent_dim))
        outside = self._with_end(self.target) if self._generates_classes else self.target
        self.loss.build(outside)
        self.decoder.build(latent, self.loss.output_shape(outside), self.target)
        self._rehearse()
        return self

    @torch.no_grad()
    def _rehearse(self) -> None:
        """Two rows of zeros through the line, each part held to the space it announced."""
        was_training = self.training
        self.eval()
        x, y = (_zeros(space) for space in (self.space, self.target))
        told = torch.zeros(2, self.space.condition) if self.space.condition else None
        batch = Batch(x, y, condition=told)
        features = self.encoder(self._see(batch, noise=torch.zeros_like, scaled=True))
        _hold(self.encoder, features.h, features.bypass.skips)
        latent = self.bottleneck(features, torch.zeros_like)
        _hold(self.bottleneck, latent.z, latent.bypass.skips)
        target, mask, teacher = self._goal(batch, 1, scaled=True)
        output = self.decode(self._told_length(latent, target, mask), teacher)
        _hold(self.decoder, output)
        loss = self.loss(self._cut(output, target), target, mask)
        self.train(was_training)
        if loss.shape != (2,):
            raise ShapeError(f"{type(self.loss).__name__} must give one number a sample, (2,), got {tuple(loss.shape)}")

    # ------------------------------------------------------------------ the three verbs

    def encode(
        self,
        batch: Batch,
        *,
        n_samples: int = 1,
        corrupt: bool = False,
        noise: Noise = torch.randn_like,
        scaled: bool = False,
        input_grad: bool = False,
    ) -> tuple[Seen, Features, Latent]:
        """x to the code, ``(B · n_samples, …)``; a row's samples lie next to one another."""
        seen = self._see(batch, corrupt=corrupt, noise=noise, scaled=scaled, input_grad=input_grad)
        features = self.encoder(seen)
        return seen, features, self.bottleneck(repeat_rows(features, n_samples), noise)

    def decode(self, latent: Latent, teacher: Tensor | None = None) -> Tensor:
        """The code to the output that the loss reads."""
        output: Tensor = self.decoder(latent, teacher)
        return output

    def forward(
        self,
        batch: Batch,
        n_samples: int = 1,
        corrupt: bool = True,
        noise: Noise = torch.randn_like,
        *,
        scaled: bool = False,
        input_grad: bool = False,
    ) -> Trace:
        """One pass. ``scaled``: the batch has been through `scale` already, as resident data have."""
        seen, features, latent = self.encode(
            batch, n_samples=n_samples, corrupt=corrupt, noise=noise, scaled=scaled, input_grad=input_grad
        )
        target, mask, teacher = self._goal(batch, n_samples, scaled)
        if self.corruption is not None and self.corruption.hidden_only and seen.hidden is not None:
            hidden = repeat_rows(seen.hidden, n_samples)
            mask = hidden if mask is None else mask & hidden
        if self.reads_itself and self.training and teacher is not None:
            teacher = own_words(teacher, self._said(latent, teacher), self.own_share)
        output = self._cut(self.decode(self._told_length(latent, target, mask), teacher), target)
        return Trace(batch, seen, features, latent, output, target, mask)

    # ------------------------------------------------------------------ units and targets

    def scale(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The user's units to the network's; class indices are left as they are."""
        if not x.is_floating_point() and self.space.classes is not None:
            return x, mask
        if self.scaler is not None:
            x, mask = self.scaler(x, mask)
        return x.to(self.dtype), mask

    def prediction(self, output: Tensor) -> Tensor:
        """The output to a prediction in the user's units."""
        mean = self.loss.mean(output)
        return self.scaler.inverse(mean) if self.scaler is not None and self.scales_target else mean

    def _told_length(self, latent: Latent, target: Tensor, mask: Tensor | None) -> Latent:
        """A latent vector has no positions to mask: where their number is free, its mask is the target's."""
        if (
            latent.z.dim() > 2
            or self.decoder.stepwise
            or len(self.target.shape) < 2
            or self.target.shape[0] is not None
        ):
            return latent
        mask = target.new_ones(target.shape[:2], dtype=torch.bool) if mask is None else mask
        return latent._replace(bypass=latent.bypass._replace(mask=mask))

    def _cut(self, output: Tensor, target: Tensor) -> Tensor:
        """The output without what a decoder added on free axes, whose length it cannot know."""
        for axis, length in enumerate(self.target.shape, start=1):
            if length is None:
                output = first(output, axis, target.shape[axis])
        return output

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's parameters."""
        return next((parameter.dtype for parameter in self.parameters()), torch.get_default_dtype())

    @property
    def device(self) -> torch.device:
        """Of the network's parameters."""
        return next(self.parameters(), torch.empty(0)).device

    def _see(
        self,
        batch: Batch,
        *,
        corrupt: bool = True,
        noise: Noise = torch.randn_like,
        scaled: bool = False,
        input_grad: bool = False,
    ) -> Seen:
        """What the encoder sees of a batch: scaled and corrupted, a leaf where its gradient is wanted."""
        told = 0 if batch.condition is None else batch.condition.shape[-1]
        if told != self.space.condition:
            raise ShapeError(f"condition must have width {self.space.condition}, as built, got {told}")
        x, mask = (batch.x, batch.x_mask) if scaled else self.scale(batch.x, batch.x_mask)
        seen = Seen(x, Bypass(mask=mask, condition=batch.condition))
        if corrupt and self.corruption is not None:
            seen = self.corruption(seen, noise)
        if input_grad and not seen.x.is_floating_point():
            raise ShapeError("a penalty on the derivative by x needs real inputs, and this x holds classes")
        return seen._replace(x=seen.x.detach().requires_grad_()) if input_grad else seen

    def _goal(self, batch: Batch, n_samples: int, scaled: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Target and mask as the loss reads them, and the teacher of a stepwise decoder."""
        y, mask = (batch.x, batch.x_mask) if batch.y is None else (batch.y, batch.y_mask)
        if not scaled and self.scales_target:
            y, mask = self.scale(y, mask)
        elif self.target.classes is None and y is not batch.x:
            y = y.to(self.dtype)
        y, mask = repeat_rows((y, mask), n_samples)
        return teacher_forced(y, mask, self.target.classes) if self.decoder.stepwise else (y, mask, None)

    # ------------------------------------------------------------------ stepwise targets

    @torch.no_grad()
    def _said(self, latent: Latent, teacher: Tensor) -> Tensor:
        """What the model itself would have written at each step, given the teacher up to there."""
        output = self.decode(latent, teacher)
        return output.argmax(-1) if self.target.classes is not None else self.loss.mean(output)

    @property
    def _generates_classes(self) -> bool:
        return self.decoder.stepwise and self.target.classes is not None

    @staticmethod
    def _with_end(target: Space) -> Space:
        """K classes become K + 1, the last of which ends a sequence, so that it is one position longer."""
        length, *rest = target.shape
        return target._replace(shape=(length and length + 1, *rest), classes=(target.classes or 0) + 1)


def repeat_rows(tree: Any, times: int) -> Any:
    """Each row of every tensor in a tree of tuples ``times`` times, next to one another."""
    if times == 1 or tree is None:
        return tree
    if isinstance(tree, Tensor):
        return tree.repeat_interleave(times, 0)
    if isinstance(tree, tuple):
        rows = [repeat_rows(leaf, times) for leaf in tree]
        return type(tree)(*rows) if hasattr(tree, "_fields") else type(tree)(rows)
    return tree


def _zeros(space: Space) -> Tensor:
    shape = [5 if length is None else length for length in space.shape]
    return torch.zeros(2, *shape, dtype=torch.long if space.classes is not None else torch.get_default_dtype())


def _hold_patches(encoder: Encoder, corruption: Corruption | None) -> None:
    """Raise `ShapeError` where the patches that are hidden are not the ones that are read."""
    read, hidden = (getattr(part, "patch_size", None) for part in (encoder, corruption))
    if None not in (read, hidden) and read != hidden:
        raise ShapeError(f"patch_size of the corruption must be the encoder's, {read}, got {hidden}")


def _hold(part: Part, tensor: Tensor, skips: tuple[Tensor, ...] = ()) -> None:
    """Raise `ShapeError` where a part does not give what its ``out`` announces."""
    name, space = type(part).__name__, built(part)
    if len(skips) != len(space.skips):
        raise ShapeError(f"{name} announces {len(space.skips)} skips and gives {len(skips)}")
    for announced, given in zip((space, *space.skips), (tensor, *skips), strict=True):
        if not announced.accepts(given):
            raise ShapeError(f"{name} announces the shape {announced.shape} and gives {tuple(given.shape[1:])}")
