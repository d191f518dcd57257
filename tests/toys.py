"""Ten-line parts, in the tests alone, for what the library will hold one day; and lines made of parts."""

from __future__ import annotations

import logging
from itertools import chain
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F

from isthmus.bottlenecks import Dense
from isthmus.decoders import MLPDecoder
from isthmus.encoders import MLPEncoder
from isthmus.errors import ShapeError
from isthmus.losses import SquaredError
from isthmus.model import EncoderDecoder
from isthmus.objective import Objective, TrainStep
from isthmus.optimizers import Adam
from isthmus.part import Corruption, Decoder, Encoder
from isthmus.training.step import eager_step, replayed_step
from isthmus.types import Batch, Bypass, Features, Latent, Seen, Space, Trace


def line(space=6, latent_dim=2, *, encoder=None, bottleneck=None, decoder=None, loss=None, seed=0, double=True, **rest):
    """A small built model, in float64 unless told otherwise; weights by the seed alone."""
    target = rest.pop("target", None)
    encoder = MLPEncoder((5,), "tanh") if encoder is None else encoder
    decoder = MLPDecoder((5,), "tanh") if decoder is None else decoder
    model = EncoderDecoder(encoder, bottleneck or Dense(), decoder, loss or SquaredError(), **rest)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.build(Space.of(space), target, latent_dim)
    return model.double() if double else model


def train_step(model, *penalties, objective=None):
    """The model and its objective, in one module."""
    for penalty in penalties:
        penalty.build(Space(()))
    return TrainStep(model, objective or Objective(penalties)).train()


def hand_trace(z=None, *, kl=None, weight=None, mask=None, log_ratio=None, output=None, target=None) -> Trace:
    """A record as a model would write it, of tensors given by hand."""
    like = z if z is not None else kl if kl is not None else output
    x = torch.zeros(len(like), 1, dtype=like.dtype)
    bypass = Bypass(mask=mask)
    output, target = (x if value is None else value for value in (output, target))
    latent = Latent(x if z is None else z, bypass, kl=kl, log_ratio=log_ratio)
    return Trace(Batch(x, weight=weight), Seen(x, bypass), Features(x, bypass), latent, output, target, mask)


def randn(*shape, seed=0, dtype=torch.float64):
    """Standard normal numbers by a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_replay_has_eager_bits(make, optimizer=None, clip_norm=None, precision="32-true"):
    """Steps eager and replayed from the same weights and seed, with noise: the same bits throughout.

    ``make()`` gives a fresh `TrainStep` and its batches, the same at each call.
    """
    results, optimizer = [], optimizer or Adam()
    for replay in (False, True):
        step, batches = make()
        step.train()
        trained = [parameter for parameter in step.parameters() if parameter.requires_grad]
        memory, rate = optimizer.state(trained), torch.tensor(0.05, dtype=torch.float64)
        before = [parameter.detach().clone() for parameter in trained]
        run = (replayed_step if replay else eager_step)(step, optimizer, memory, clip_norm, precision)
        torch.manual_seed(1)
        terms = []
        with patch.object(logging.getLogger("isthmus"), "warning") as warned:
            for i, batch in enumerate(batches):
                rate.fill_(0.05 / (i + 1))
                terms += run(batch, rate).values()
        warned.assert_not_called()  # all of it was recorded
        assert not all(torch.equal(old, new) for old, new in zip(before, trained, strict=True))
        results.append([*terms, *step.parameters(), *step.buffers(), *chain.from_iterable(memory.values())])
    for eager, replayed in zip(*results, strict=True):
        torch.testing.assert_close(replayed, eager, rtol=0, atol=0)


# ---------------------------------------------------------------------- skips and free axes


class TinyUNetEncoder(Encoder):
    """Two levels of 1 × 1 convolutions; the upper one is the skip."""

    def __init__(self, width=4):
        super().__init__()
        self.width = width

    def build(self, space):
        super().build(space)
        *axes, channels = space.shape
        self.upper = nn.Linear(channels, self.width)
        self.lower = nn.Linear(self.width, 2 * self.width)
        halves = [None if length is None else -(-length // 2) for length in axes]
        self.out = Space((*halves, 2 * self.width), skips=(Space((*axes, self.width)),))
        return self

    def forward(self, seen):
        skip = self.upper(seen.x).relu()  # (B, H, W, C)
        pooled = F.avg_pool2d(skip.movedim(-1, 1), 2, ceil_mode=True).movedim(1, -1)
        return Features(self.lower(pooled), seen.bypass._replace(skips=(skip,)))


class TinyUNetDecoder(Decoder):
    """Upsamples to the skip's size, joins the two, and maps them to the output."""

    def build(self, space, out=None, target=None):
        super(Decoder, self).build(space)
        if len(space.skips) != 1:
            raise ShapeError(f"tiny u-net decoder expects 1 skips, encoder gives {len(space.skips)}")
        self.end = nn.Linear(space.shape[-1] + space.skips[0].shape[-1], out.shape[-1])
        self.out = out
        return self

    def forward(self, latent, teacher=None):
        (skip,) = latent.bypass.skips
        up = F.interpolate(latent.z.movedim(-1, 1), size=skip.shape[1:3]).movedim(1, -1)
        return self.end(torch.cat([up, skip], -1))


# ---------------------------------------------------------------------- sequences


class PositionEncoder(Encoder):
    """The same map at every position."""

    def __init__(self, width=4):
        super().__init__()
        self.width = width

    def build(self, space):
        super().build(space)
        self.linear = nn.Linear(space.shape[-1], self.width)
        self.out = Space((*space.shape[:-1], self.width))
        return self

    def forward(self, seen):
        return Features(self.linear(seen.x).tanh(), seen.bypass)


class PositionDecoder(Decoder):
    """The same map at every position."""

    def build(self, space, out=None, target=None):
        super(Decoder, self).build(space)
        self.linear = nn.Linear(space.shape[-1], out.shape[-1])
        self.out = out
        return self

    def forward(self, latent, teacher=None):
        return self.linear(latent.z)


class LastEncoder(Encoder):
    """A GRU's state at a row's last position; classes are embedded."""

    def build(self, space):
        super().build(space)
        self.embed = nn.Embedding(space.classes, 5) if space.classes else nn.Linear(space.shape[-1], 5)
        self.rnn = nn.GRU(5, 6, batch_first=True)
        self.out = Space((6,))
        return self

    def forward(self, seen):
        h, _ = self.rnn(self.embed(seen.x))  # (B, T, 6)
        mask = seen.bypass.mask
        last = h.shape[1] - 1 if mask is None else mask.sum(1) - 1
        return Features(h[torch.arange(len(h)), last], seen.bypass._replace(mask=None))


class State(NamedTuple):
    """What a step leaves to the next one."""

    h: torch.Tensor

    def select(self, rows):
        return State(self.h[rows])


class StepDecoder(Decoder):
    """A GRU cell that starts at the latent; trained all at once, generating step by step."""

    stepwise = True

    def build(self, space, out=None, target=None):
        super(Decoder, self).build(space)
        self.embed = nn.Embedding(target.classes + 2, 5) if target.classes else nn.Linear(target.shape[-1], 5)
        self.begin = nn.Linear(space.shape[-1], 6)
        self.cell = nn.GRUCell(5, 6)
        self.end = nn.Linear(6, out.shape[-1])
        self.out = out
        return self

    def start(self, latent):
        return State(self.begin(latent.z).tanh())

    def step(self, previous, state):
        h = self.cell(self.embed(previous), state.h)
        return self.end(h), State(h)

    def forward(self, latent, teacher=None):
        h, states = self.start(latent).h, []
        for embedded in self.embed(teacher).unbind(1):
            h = self.cell(embedded, h)
            states.append(h)
        return self.end(torch.stack(states, 1))  # (B, T, K)


# ---------------------------------------------------------------------- a masked autoencoder


class Hide(Corruption):
    """Shows the encoder the first ``visible`` positions of a random order, and no others."""

    def __init__(self, visible=2):
        super().__init__()
        self.visible = visible

    def forward(self, seen, noise=torch.randn_like):
        order = noise(seen.x[..., 0]).argsort(1)[:, : self.visible]  # (B, V)
        hidden = torch.ones_like(seen.x[..., 0], dtype=torch.bool).scatter(1, order, False)
        shown = seen.x.gather(1, order.unsqueeze(-1).expand(-1, -1, seen.x.shape[-1]))
        return Seen(shown, seen.bypass._replace(positions=order), hidden)


class VisibleEncoder(Encoder):
    """Maps each visible position, told which one it is."""

    def build(self, space):
        super().build(space)
        self.linear = nn.Linear(space.shape[-1], 4)
        self.place = nn.Embedding(space.shape[0], 4)
        self.out = Space((None, 4))
        return self

    def forward(self, seen):
        return Features(self.linear(seen.x) + self.place(seen.bypass.positions), seen.bypass)


class FillingDecoder(Decoder):
    """Puts visible codes in their places, a learnt token in the others, and mixes all."""

    def build(self, space, out=None, target=None):
        super(Decoder, self).build(space)
        self.length = target.shape[0]
        self.token = nn.Parameter(torch.full((space.shape[-1],), 0.1))
        self.mix = nn.Linear(self.length, self.length)
        self.end = nn.Linear(space.shape[-1], out.shape[-1])
        self.out = out
        return self

    def forward(self, latent, teacher=None):
        z, places = latent.z, latent.bypass.positions
        empty = self.token.to(z.dtype).expand(len(z), self.length, -1)
        whole = empty.scatter(1, places.unsqueeze(-1).expand_as(z), z)  # (B, T, D)
        return self.end(whole + self.mix(whole.mT).mT.tanh())


class HiddenOnly(Objective):
    """The loss at hidden positions alone."""

    def data_term(self, trace, model):
        return model.loss(trace.output, trace.target, trace.seen.hidden).mean()
