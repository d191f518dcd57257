"""The contract of every part, found in the registry: a new part is under test by its line in ``__init__``."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import pytest
import sklearn.base
import torch

from isthmus import spec
from isthmus.bottlenecks import Dense, Gaussian
from isthmus.decoders import ConvDecoder, MLPDecoder, UNetDecoder
from isthmus.encoders import ConvEncoder, MLPEncoder, RNNEncoder, UNetEncoder
from isthmus.errors import IsthmusError, ShapeError
from isthmus.losses import CrossEntropy, Dice, Focal, GaussianNLL, SquaredError, SumLoss, Tversky
from isthmus.model import EncoderDecoder
from isthmus.objective import Objective, TrainStep
from isthmus.optimizers import SGD, Adam
from isthmus.penalties import Contractive, KLPrior, L1Weights
from isthmus.types import Batch, Space
from toys import assert_replay_has_eager_bits

PARTS = [cls for kind in spec.FAMILIES for cls in spec.registry(kind).values()]
VARIANTS = [
    *(GaussianNLL(variance) for variance in (0.5, "learned", "predicted")),
    *(Dense(activation) for activation in ("sigmoid", "relu")),
    *(MLPEncoder((5, 5), "elu", normalization, residual=True) for normalization in ("batch", "layer")),
    *(ConvEncoder((4, 8), 3, 2, normalization, residual_blocks=1) for normalization in ("batch", "group", "instance")),
    *(ConvEncoder((4,), pool=pool) for pool in ("mean", None)),
    ConvDecoder(upsampling="resize", residual_blocks=1),
    UNetEncoder((4, 8), residual=True, attention_heads=2),
    UNetEncoder((4, 8), normalization="group", downsampling="max"),
    UNetDecoder(merge="add", upsampling="resize"),
    SquaredError("sigmoid"),
    *(loss(ignore_label=4) for loss in (Dice, Focal, Tversky)),  # labels in place of zeros and ones
    CrossEntropy(class_weight=(1.0, 2.0, 0.5, 0.0, 3.0), label_smoothing=0.1),
    Focal(0.5, class_weight=(1.0, 2.0, 0.5, 3.0)),  # four channels of zeros and ones
    SumLoss([CrossEntropy(), Dice(squared=True), Tversky(include_background=False)], (0.1, 1.0, 2.0)),
    Contractive(n_probes=2),
    KLPrior(0.5, free_bits=0.1),
    L1Weights(0.1, proximal=True),
]
STEPPED = [*(cls() for cls in PARTS if cls.kind not in ("scaler", "augmentation")), *VARIANTS]
SPACES = [Space((6,)), Space((8, 8, 1)), Space((7, 3)), Space((7,), classes=5)]
TASKS = [*zip(SPACES, SPACES, strict=True), (Space((6,)), Space((7,), classes=5)), (Space((6,)), Space((7, 4)))]
SETTINGS = {  # every pair of two settings occurs
    "adam": (Adam(), None, 0.0, False),
    "adam-clip-dropout-weight": (Adam(), 0.5, 0.3, True),
    "adam-dropout": (Adam(), None, 0.3, False),
    "sgd-weight": (SGD(momentum=0.9), None, 0.0, True),
    "sgd-dropout-weight": (SGD(momentum=0.9), None, 0.3, True),
    "sgd-clip": (SGD(momentum=0.9), 0.5, 0.0, False),
}
every_part = pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
every_step = pytest.mark.parametrize("part", STEPPED, ids=repr)


def step_with(part, dropout: float = 0.0) -> tuple[TrainStep, tuple[Space, Space]]:
    """A whole training step round this part, on the first task (input, target) and neck that it goes with."""
    torch.manual_seed(0)
    lines = [(None, SquaredError()), (RNNEncoder(4), CrossEntropy())]  # of numbers, and of classes
    for (reader, judge), task, neck in itertools.product(lines, TASKS, (Dense("sigmoid"), Gaussian())):
        chosen = {part.kind: spec.clone(part)}
        encoder = chosen.get("encoder") or reader or encoder_for(chosen.get("decoder"), dropout)
        decoder = chosen.get("decoder") or spec.registry("decoder")[encoder.decoder_name()].mirror(encoder)
        bottleneck, loss = chosen.get("bottleneck", neck), chosen.get("loss", judge)
        penalties = [penalty.build(Space(())) for penalty in [chosen.get("penalty")] if penalty is not None]
        model = EncoderDecoder(encoder, bottleneck, decoder, loss, corruption=chosen.get("corruption"))
        try:
            width = None if bottleneck.part_name() == "identity" else 3
            step = TrainStep(model.build(*task, latent_dim=width), Objective(penalties)).train()
            step(batch_of(task))
        except IsthmusError as error:
            last = error
        else:
            return step, task
    raise AssertionError(f"{part} goes with none of {TASKS}") from last


def encoder_for(decoder, dropout):
    if decoder is None or isinstance(decoder, MLPDecoder):
        return MLPEncoder((5, 4), "tanh", dropout=dropout)
    return spec.registry("encoder")[decoder.part_name()]()


def batch_of(task, seed: int = 0, weighted: bool = False) -> Batch:
    """Zeros and ones, which every loss allows; classes where the space has some."""
    generator = torch.Generator().manual_seed(seed)

    def values(space: Space) -> torch.Tensor:
        drawn = torch.randint(space.classes or 2, (8, *space.shape), generator=generator)
        return drawn if space.classes else drawn.float()

    space, target = task
    weight = torch.rand(8, generator=generator) if weighted else None
    return Batch(values(space), None if target is space else values(target), weight=weight)


# ---------------------------------------------------------------------- arguments, building, text


@every_part
def test_arguments_come_back(cls):
    part = cls()
    params = part.get_params()
    assert list(cls.parameter_names()) == [name for name in params if "__" not in name]
    for copy in (cls(**params), sklearn.base.clone(part), spec.clone(part)):
        assert type(copy) is cls
        assert copy is not part
        assert copy.get_params() == params
    assert part.set_params(**params) is part
    part.check()


@every_part
def test_text(cls):
    assert cls.formula
    assert cls.__doc__
    for name in cls.parameter_names():
        documented = any(name in (base.__doc__ or "") for base in cls.__mro__ if base.__module__.startswith("isthmus"))
        assert documented, f"{cls.__name__} does not document {name}"


@pytest.mark.parametrize("part", [*(cls() for cls in PARTS), *VARIANTS], ids=repr)
def test_build_returns_the_part_and_sets_out(part):
    fresh = spec.clone(part)
    assert fresh.out is None
    for _, space in TASKS:
        try:
            read = encoder_for(part, 0.0).build(space).out if part.kind == "decoder" else space
            answer = fresh.build(read, out=space) if part.kind == "decoder" else fresh.build(space)
        except ShapeError:
            continue
        assert answer is fresh
        assert isinstance(fresh.out, Space)
        return
    raise AssertionError(f"{part} builds on none of {TASKS}")


@pytest.mark.parametrize("part", [part for part in STEPPED if part.kind not in ("penalty", "corruption")], ids=repr)
def test_unbuilt_forward_says_so(part):
    step, task = step_with(part)
    whole = getattr(step.model, part.kind)
    trace, fresh = step.model(batch_of(task), scaled=True), spec.clone(part)
    given = {
        "encoder": (trace.seen,),
        "bottleneck": (trace.features,),
        "decoder": (trace.latent,),
        "loss": (trace.output, trace.target),
    }
    expected = pytest.raises(ShapeError, match=f"{type(part).__name__} is not built")
    with expected if [*whole.parameters(), *whole.buffers()] else nullcontext():  # one without tensors just runs
        fresh(*given[part.kind])


# ---------------------------------------------------------------------- gradients and precision


@every_step
def test_every_parameter_gets_a_gradient(part):
    step, task = step_with(part)
    total, terms = step(batch_of(task))
    gradients = torch.autograd.grad(total, list(step.parameters()), allow_unused=True)
    missing = [name for (name, _), value in zip(step.named_parameters(), gradients, strict=True) if value is None]
    assert not missing
    assert all(value.isfinite().all() for value in gradients)
    assert all(term.dim() == 0 and not term.requires_grad for term in terms.values())


@every_step
def test_runs_in_bfloat16(part):
    step, task = step_with(part)
    batch, seed = batch_of(task), torch.get_rng_state()
    exact, _ = step(batch)
    torch.set_rng_state(seed)
    with torch.autocast("cpu", torch.bfloat16):
        total, terms = step(batch)
    assert total.dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in terms.values())
    # a Bernoulli or Poisson draw does not enter a step, so 8 bits of mantissa are all that differs
    torch.testing.assert_close(total, exact, rtol=0.03, atol=0.03)
    gradients = torch.autograd.grad(total, list(step.parameters()))
    assert all(value.isfinite().all() for value in gradients)


# ---------------------------------------------------------------------- the traced step


def assert_same_bits(part, optimizer, clip_norm, dropout, weighted, precision="32-true"):
    def make():
        step, task = step_with(part, dropout)
        return step, [batch_of(task, i, weighted) for i in range(5)]

    assert_replay_has_eager_bits(make, optimizer, clip_norm, precision)


@every_step
@pytest.mark.parametrize("setting", ["adam-clip-dropout-weight", "sgd-clip"])
def test_replayed_step_has_the_bits_of_eager(part, setting):
    assert_same_bits(part, *SETTINGS[setting])


@pytest.mark.parametrize("setting", SETTINGS)
def test_replayed_step_in_every_setting(setting):
    assert_same_bits(Gaussian(), *SETTINGS[setting])


def test_replayed_step_keeps_the_precision():
    assert_same_bits(KLPrior(), Adam(), 1.0, 0.3, True, "bf16-mixed")


def test_replayed_step_with_frozen_parameters():
    def make():
        step, task = step_with(Dense())
        step.model.bottleneck.requires_grad_(False)
        return step, [batch_of(task, i) for i in range(3)]

    assert_replay_has_eager_bits(make, Adam())
