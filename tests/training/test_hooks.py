"""The hooks of a part, called in order with what they are promised."""

from __future__ import annotations

import pytest
import torch

from isthmus import Autoencoder
from isthmus.bottlenecks import Dense
from isthmus.schedules import Linear
from isthmus.types import Trace
from toys import randn


class Recorder(Dense):
    """A dense neck that writes down when each hook is called; ``forward`` adds to a buffer, the hook clears it."""

    def __init__(self, log=None):
        super().__init__()
        self.log = log

    def build(self, space, latent_dim=None):
        self.register_buffer("rows", torch.zeros(()))
        return super().build(space, latent_dim)

    def forward(self, features, noise=torch.randn_like):
        if self.training:
            self.rows += len(features.h)
        return super().forward(features, noise)

    def before_fit(self, trace):
        self.log.append(("before_fit", trace))
        self.rows.zero_()

    def after_step(self, learning_rate):
        self.log.append(("after_step", learning_rate, float(self.rows)))
        self.rows.zero_()

    def after_fit(self, latents):
        self.log.append(("after_fit", latents))


@pytest.mark.parametrize("compile", [False, "replay"])
def test_hooks_are_called_in_order(compile):
    log, X = [], randn(40, 4, dtype=torch.float32).numpy()
    settings = {"scale": None, "batch_size": 16, "max_epochs": 2, "learning_rate": 0.1, "random_state": 0}
    model = Autoencoder(latent_dim=2, bottleneck=Recorder(log), schedule=Linear(), compile=compile, **settings).fit(X)
    assert [event[0] for event in log] == ["before_fit", *["after_step"] * 6, "after_fit"]
    trace, latents = log[0][1], log[-1][1]
    assert isinstance(trace, Trace)
    assert trace.output.shape == (16, 4)
    assert not trace.output.requires_grad
    rates = [0.1 * (1 - i / 6) for i in range(6)]
    assert [event[1] for event in log[1:-1]] == pytest.approx(rates)
    assert [event[2] for event in log[1:-1]] == [16] * 6
    assert latents.shape == (40, 2)
    codes = torch.from_numpy(model.transform(X))
    torch.testing.assert_close(
        latents.sort(0).values, codes.sort(0).values
    )  # the rows were put in an order of their own
