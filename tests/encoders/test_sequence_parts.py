"""RNN and Transformer parts: padding has no say, and step by step gives the numbers of all at once."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isthmus.decoders import RNNDecoder, TransformerDecoder
from isthmus.encoders import RNNEncoder, TransformerEncoder
from isthmus.errors import IsthmusError, ParameterError, ShapeError
from isthmus.nn.attention import Attention, attended, rotated, sinusoids
from isthmus.nn.dropout import Dropout
from isthmus.nn.recurrent import Recurrent, reversed_rows
from isthmus.nn.symbols import Symbols
from isthmus.types import Bypass, Latent, Seen, Space
from toys import randn

SMALL = {"d_model": 8, "num_heads": 2, "num_layers": 2, "dropout": 0.0}
WORDS, NUMBERS = Space((None,), classes=7), Space((None, 3))
ENCODERS = [
    *(
        RNNEncoder(6, 2, cell, two, pool=pool)
        for cell in ("gru", "lstm")
        for two in (True, False)
        for pool in ("last", "mean", None)
    ),
    *(
        TransformerEncoder(**SMALL, positions=where, pool=pool)
        for where in ("sinusoidal", "learnt", "rotary")
        for pool in ("mean", None)
    ),
    TransformerEncoder(**SMALL, norm_first=False, activation="relu"),
    TransformerEncoder(**SMALL, activation="swiglu"),
]
DECODERS = [
    *(RNNDecoder(6, 2, cell) for cell in ("gru", "lstm")),
    RNNDecoder(6, repeat_latent=True, word_dropout=0.5),
    TransformerDecoder(**SMALL, word_dropout=0.5),
    *(RNNDecoder(6, 1, cell, score) for cell in ("gru", "lstm") for score in ("additive", "multiplicative", "dot")),
    RNNDecoder(6, 2, attention="additive", input_feeding=True),
    *(TransformerDecoder(**SMALL, positions=where) for where in ("sinusoidal", "learnt", "rotary")),
    TransformerDecoder(**SMALL, norm_first=False, tied=False, activation="swiglu"),
]


def padded(space: Space, lengths=(5, 2, 4)):
    """Rows of these lengths, and their mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    x = torch.randint(space.classes, mask.shape) if space.classes else randn(*mask.shape, 3)
    return x, mask


@pytest.mark.parametrize("space", [WORDS, NUMBERS], ids=["words", "numbers"])
@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_padding_does_not_change_what_an_encoder_says(encoder, space):
    torch.manual_seed(0)
    part = type(encoder)(**encoder.get_params()).build(space).double().eval()
    x, mask = padded(space)
    whole = part(Seen(x, Bypass(mask=mask))).h
    for row, length in enumerate(mask.sum(1)):
        alone = part(Seen(x[row : row + 1, :length])).h
        found = whole[row : row + 1] if part.pool is not None else whole[row : row + 1, :length]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-12)


def latent_for(positions: bool, condition: bool = False):
    """A latent vector, or a sequence with padding."""
    mask = torch.arange(4) < torch.tensor([4, 2, 3])[:, None]
    told = randn(3, 2, seed=5) if condition else None
    z = randn(3, 4, 5, seed=1) if positions else randn(3, 5, seed=1)
    return Latent(z, Bypass(mask=mask if positions else None, condition=told))


def shape_of(latent: Latent) -> Space:
    width = 0 if latent.bypass.condition is None else latent.bypass.condition.shape[-1]
    return Space((None, 5) if latent.z.dim() == 3 else (5,), condition=width)


@pytest.mark.parametrize("target", [WORDS, NUMBERS], ids=["words", "numbers"])
@pytest.mark.parametrize("positions", [True, False], ids=["sequence", "vector"])
@pytest.mark.parametrize("decoder", DECODERS, ids=repr)
def test_step_by_step_is_all_at_once(decoder, positions, target):
    torch.manual_seed(0)
    part = type(decoder)(**(decoder.get_params() | {"autoregressive": True}))
    latent = latent_for(positions, condition=True)
    out = Space((None, 8)) if target.classes else Space((None, 3))
    if part.get_params().get("attention") is not None and not positions:
        with pytest.raises(ShapeError, match="needs a latent sequence"):
            part.build(shape_of(latent), out, target)
        return
    part.build(shape_of(latent), out, target).double().eval()
    teacher = torch.randint(9, (3, 40)) if target.classes else randn(3, 40, 3)
    whole = part(latent, teacher)
    state, rows = part.start(latent), []
    order = torch.tensor([2, 0, 1])
    for t in range(40):
        if t == 17:  # in another order from here on
            state, teacher, whole = state.select(order), teacher[order], whole[order]
            rows = [row[order] for row in rows]
        output, state = part.step(teacher[:, t], state)
        rows.append(output)
    torch.testing.assert_close(torch.stack(rows, 1), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("decoder", DECODERS, ids=repr)
def test_beams_write_what_rows_of_their_own_would(decoder):
    torch.manual_seed(0)
    part = type(decoder)(**(decoder.get_params() | {"autoregressive": True}))
    latent = latent_for(True)
    part.build(shape_of(latent), Space((None, 8)), WORDS).double().eval()
    beams, teacher = torch.tensor([0, 0, 1, 1, 2, 2]), torch.randint(9, (6, 12))
    twice = Latent(latent.z[beams], latent.bypass._replace(mask=latent.bypass.mask[beams]))
    together, alone = part.start(latent).select(beams), part.start(twice)
    for t in range(12):
        if t == 5:  # a sentence ends, beams change places; later the rows are mixed
            order = torch.tensor([1, 0, 4, 4])
        elif t == 8:
            order = torch.tensor([3, 0, 2])
        else:
            order = torch.arange(len(teacher))
        teacher, together, alone = teacher[order], together.select(order), alone.select(order)
        (found, together), (expected, alone) = part.step(teacher[:, t], together), part.step(teacher[:, t], alone)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("decoder", DECODERS, ids=repr)
def test_what_is_masked_is_not_read(decoder):
    torch.manual_seed(0)
    part, latent = type(decoder)(**decoder.get_params()), latent_for(True)
    part.build(shape_of(latent), Space((None, 8)), WORDS).double().eval()
    teacher = torch.randint(9, (3, 6))
    other = latent._replace(z=torch.where(latent.bypass.mask.unsqueeze(-1), latent.z, 9.0))
    torch.testing.assert_close(part(latent, teacher), part(other, teacher), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "decoder", [RNNDecoder(6), RNNDecoder(6, repeat_latent=True), TransformerDecoder(**SMALL)], ids=repr
)
def test_numbers_from_a_vector_are_written_at_once(decoder):
    part = type(decoder)(**(decoder.get_params() | {"autoregressive": False}))
    part.build(Space((5,)), NUMBERS, NUMBERS).eval()
    assert not part.stepwise
    assert part(Latent(torch.randn(2, 5), Bypass(mask=torch.ones(2, 9, dtype=torch.bool)))).shape == (2, 9, 3)
    with pytest.raises(ShapeError, match="how many positions"):
        part(Latent(torch.randn(2, 5)))
    with pytest.raises(ShapeError, match="all steps at once"):
        part.step(torch.randn(2, 3), part.start(Latent(torch.randn(2, 5))))


@pytest.mark.parametrize("score", ["additive", "multiplicative", "dot"])
def test_attention_is_its_formula(score):
    torch.manual_seed(0)
    attention = Attention(score, 6, 6).double()
    query, memory = randn(2, 3, 6), randn(2, 4, 6, seed=1)
    context, weights = attention(query, attention.keys(memory), memory)
    for b, t in itertools.product(range(2), range(3)):
        q = query[b, t]
        if score == "additive":
            w, u, v = attention.of_query, attention.of_memory.weight, attention.direction.weight[0]
            scores = torch.stack([v @ (w(q) + u @ m).tanh() for m in memory[b]])
        else:
            scores = torch.stack(
                [q @ (attention.of_memory.weight @ m if score == "multiplicative" else m) for m in memory[b]]
            )
        torch.testing.assert_close(weights[b, t], scores.softmax(0))
        torch.testing.assert_close(context[b, t], scores.softmax(0) @ memory[b])


def test_attention_weights_are_those_of_the_pass():
    torch.manual_seed(0)
    latent, teacher = latent_for(True), torch.randint(9, (3, 6))
    for feeding in (False, True):
        part = RNNDecoder(6, attention="additive", input_feeding=feeding)
        part.build(shape_of(latent), Space((None, 8)), WORDS).double().eval()
        weights = part.attention_weights(latent, teacher)
        assert weights.shape == (3, 6, 4)
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 6, dtype=torch.float64))
        assert (weights.masked_select(~latent.bypass.mask[:, None, :].expand_as(weights)) == 0).all()


@pytest.mark.parametrize("causal", [True, False])
def test_heads_are_the_formula(causal):
    query, key, value = (randn(2, 3, 5, 4, seed=i) for i in range(3))
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    scores = query @ key.transpose(-1, -2) / 2 + torch.where(mask, 0.0, -torch.inf)[:, None, None, :]
    if causal:
        scores = scores.masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf)
    torch.testing.assert_close(attended(query, key, value, mask, causal), scores.softmax(-1) @ value)


def test_rotated_products_depend_on_the_distance_alone():
    query, key = randn(1, 1, 1, 8), randn(1, 1, 1, 8, seed=1)
    products = [(rotated(query, torch.tensor([p + 3])) * rotated(key, torch.tensor([p]))).sum() for p in (0, 5, 40)]
    torch.testing.assert_close(products[1], products[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(products[2], products[0], rtol=1e-5, atol=1e-6)


def test_sinusoids_are_the_papers():
    found = sinusoids(torch.arange(7), 6)
    for p, i in itertools.product(range(7), range(3)):
        angle = torch.tensor(p / 10000 ** (2 * i / 6))
        torch.testing.assert_close(found[p, 2 * i : 2 * i + 2], torch.stack([angle.sin(), angle.cos()]))


def test_turning_rows_round_is_its_own_inverse():
    x, mask = padded(NUMBERS)
    turned = reversed_rows(x, mask)
    torch.testing.assert_close(turned[1, :2], x[1, :2].flip(0))
    torch.testing.assert_close(turned[1, 2:], x[1, 2:])
    torch.testing.assert_close(reversed_rows(turned, mask), x)


def test_two_directions_are_torchs():
    torch.manual_seed(0)
    ours = Recurrent("lstm", 3, 4, 2, bidirectional=True).double()
    theirs = torch.nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True).double()
    for i, (onward, backward) in enumerate(zip(ours.onward, ours.backward_, strict=True)):
        for name, weight in onward.named_parameters():
            getattr(theirs, name.replace("l0", f"l{i}")).data.copy_(weight)
        for name, weight in backward.named_parameters():
            getattr(theirs, name.replace("l0", f"l{i}") + "_reverse").data.copy_(weight)
    x = randn(2, 6, 3)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(1000, 999, requires_grad=True)
    layer = Dropout(p).train()
    y = layer(x)
    share, n = float((y == 0).float().mean()), x.numel()
    assert abs(share - p) < 5 * (p * (1 - p) / n) ** 0.5 + 2**-16
    torch.testing.assert_close(y[y != 0].detach(), torch.full((int((y != 0).sum()),), 1 / (1 - p)), rtol=1e-4, atol=0)
    zeros = (y == 0).float().flatten() - p  # neighbours, and numbers of one draw, are independent
    for lag in (1, 2, 3, 4, 999):
        assert abs(float((zeros[:-lag] * zeros[lag:]).mean())) < 5 * p * (1 - p) / n**0.5
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, y.detach())
    assert layer.eval()(x) is x


def test_dropout_of_sixteen_bits_is_exact_in_bfloat16():
    torch.manual_seed(0)
    y = Dropout(0.1)(torch.ones(2000, 500, dtype=torch.bfloat16))
    assert abs(float((y == 0).float().mean()) - 0.1) < 0.002


def test_tied_weights_are_one_tensor():
    part = TransformerDecoder(**SMALL).build(Space((None, 5)), Space((None, 8)), WORDS)
    assert part.end is None
    assert part.symbols.table.weight.shape == (9, 8)
    assert F.linear(torch.ones(8), part.symbols.table.weight[:8]).shape == (8,)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            lambda: TransformerEncoder(d_model=10, num_heads=4).build(NUMBERS),
            "num_heads must divide d_model, 10, got 4",
        ),
        (lambda: TransformerEncoder(d_model=6, num_heads=2, positions="rotary").check(), "must be even, got 3"),
        (lambda: TransformerEncoder(positions="none").check(), "positions must be"),
        (lambda: RNNEncoder(cell="elman").check(), "cell must be"),
        (lambda: RNNEncoder(hidden_size=0).check(), "hidden_size must be"),
        (lambda: RNNEncoder().build(Space((3, 3, 1))), "needs sequences"),
        (lambda: RNNDecoder(input_feeding=True).check(), "input_feeding needs attention"),
        (lambda: RNNDecoder(attention="dot", autoregressive=False).check(), "attention must be None"),
        (
            lambda: RNNDecoder(autoregressive=False).build(Space((5,)), Space((None, 8)), WORDS),
            "autoregressive must be True",
        ),
        (
            lambda: TransformerDecoder(autoregressive=False).build(Space((5,)), Space((None, 8)), WORDS),
            "autoregressive must be True",
        ),
        (lambda: RNNDecoder().build(Space((2, 2, 5)), NUMBERS, NUMBERS), "reads a vector or a sequence"),
        (
            lambda: TransformerEncoder(**SMALL, positions="learnt", max_length=4).build(NUMBERS)(
                Seen(torch.zeros(1, 5, 3))
            ),
            "max_length .*'learnt' must be at least as long as a sequence, 5 positions, got 4",
        ),
    ],
)
def test_refused_by_name(make, complaint):
    with pytest.raises(IsthmusError, match=complaint) as caught:
        make()
    assert isinstance(caught.value, (ParameterError, ShapeError))


def test_word_dropout_hides_words_in_training_alone():
    """The share that it says, never what begins a sequence, and not in prediction."""
    symbols = Symbols(Space((None,), classes=4), 3, extra=2, word_dropout=0.3)
    nn.init.zeros_(symbols.table.weight)
    symbols.table.weight.data[symbols.blank] = 1
    x = torch.arange(4).repeat(20_000, 1)
    hidden = symbols(x)[..., 0] > 0
    torch.testing.assert_close(hidden.double().mean(), torch.tensor(0.3).double(), atol=0.005, rtol=0)
    assert not symbols(torch.full_like(x, 5)).any()
    assert not symbols.eval()(x).any()


def test_a_repeated_latent_moves_late_steps_more():
    """Read at the start alone, a latent is half forgotten after many steps of an untrained GRU."""
    latent, teacher = Latent(torch.randn(1, 5).requires_grad_()), torch.zeros(1, 30, dtype=torch.long)
    slopes = []
    for repeated in (False, True):
        torch.manual_seed(0)
        part = RNNDecoder(16, repeat_latent=repeated).build(Space((5,)), Space((None, 9)), WORDS)
        slopes.append(torch.autograd.grad(part(latent, teacher)[:, -1].sum(), latent.z)[0].norm())
    assert slopes[1] > 10 * slopes[0]
