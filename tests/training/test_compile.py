"""compile="auto": a rule over what is trained and how long; the bits are those of steps run as written."""

from __future__ import annotations

import logging

import pytest
import torch

from isthmus import VariationalAutoencoder
from isthmus.encoders import MLPEncoder
from isthmus.penalties import L2Weights
from isthmus.training.callbacks import Callback, WeightSchedule
from toys import randn

X = randn(80, 5, dtype=torch.float32).numpy()


class OwnPenalty(L2Weights):
    """A part of the user's, which could count its calls."""


class OwnCallback(Callback):
    """A callback of the user's, which could change a part."""


def fitted(**settings):
    defaults = {"latent_dim": 2, "encoder": MLPEncoder((6,), dropout=0.1), "batch_size": 16, "max_epochs": 20}
    return VariationalAutoencoder(**{**defaults, "validation_fraction": 0, "random_state": 0, **settings}).fit(X)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "steps are replayed"),
        ({"callbacks": [WeightSchedule(epochs=3)]}, "steps are replayed"),
        ({"max_epochs": 19}, "steps run as written, since 95 steps are few"),
        ({"penalties": [OwnPenalty()]}, "since OwnPenalty may do more in Python than a record holds"),
        ({"callbacks": [OwnCallback()]}, "since OwnCallback may do more in Python than a record holds"),
        ({"compile": False}, "steps run as written, as asked for"),
        ({"compile": "replay", "max_epochs": 1}, "steps are replayed"),
    ],
    ids=repr,
)
def test_the_rule_and_its_reason(settings, said, caplog):
    caplog.set_level(logging.INFO, "isthmus")
    fitted(**settings)
    assert said in "\n".join(caplog.messages)


def test_every_way_has_the_same_bits():
    callbacks = [WeightSchedule(epochs=3)]
    ways = [fitted(compile=compile, callbacks=callbacks) for compile in ("auto", False, "replay")]
    for model in ways[1:]:
        figures = [
            [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in fit.history_]
            for fit in (ways[0], model)
        ]
        assert figures[0] == figures[1]
        for name, value in ways[0].module_.state_dict().items():
            assert torch.equal(model.module_.state_dict()[name], value), name
