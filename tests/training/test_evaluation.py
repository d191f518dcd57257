"""What the validation figures are figures of."""

from __future__ import annotations

import torch

from isthmus.encoders import MLPEncoder
from isthmus.optimizers import Adam
from isthmus.training.evaluation import evaluate
from isthmus.training.loop import Loop
from isthmus.training.resident import Resident
from isthmus.training.rng import isolated_rng, seeded_noise
from isthmus.types import Batch
from toys import line, randn, train_step

ROWS = Batch(randn(32, 4, dtype=torch.float32))


def test_validation_runs_at_the_precision_of_training():
    step = train_step(line(4, encoder=MLPEncoder((64,)), double=False))
    products = []
    step.model.decoder.end.register_forward_hook(lambda part, given, output: products.append(output.dtype))
    with isolated_rng(0):
        validation = Resident(ROWS, 32, 0)
        loop = Loop(
            step, Resident(ROWS, 32, 0), Adam(), learning_rate=0.01, max_epochs=1, precision="bf16-mixed", seed=3,
            compile=False, validation=validation,
        )  # fmt: skip
        state = loop.run()
    assert products == [torch.bfloat16] * 2  # a step of training, one of validation
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, terms = step(ROWS, seeded_noise(3))
    assert state.history[0]["val_loss"] == float(terms["loss"])
    assert evaluate(step, validation, 3)["loss"] != state.history[0]["val_loss"]
