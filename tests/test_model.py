"""The line's promises, each by a ten-line part: skips, masks, free axes, steps, samples, conditions."""

from __future__ import annotations

import pytest
import torch

from isthmus import Autoencoder
from isthmus.bottlenecks import Dense, Gaussian, Identity
from isthmus.decoders import MLPDecoder
from isthmus.encoders import MLPEncoder
from isthmus.errors import ShapeError, UnsupportedError
from isthmus.losses import CrossEntropy, Dice, GaussianNLL, SquaredError, SumLoss
from isthmus.model import repeat_rows
from isthmus.nn.teacher import teacher_forced
from isthmus.optimizers import SGD
from isthmus.part import Corruption
from isthmus.penalties import Contractive, KLPrior, KLSparsity, L1Activity
from isthmus.scalers import StandardScaler
from isthmus.training.rng import seeded_noise
from isthmus.types import Batch, Bypass, Features, Latent, Space
from toys import (
    FillingDecoder,
    HiddenOnly,
    Hide,
    LastEncoder,
    PositionDecoder,
    PositionEncoder,
    StepDecoder,
    TinyUNetDecoder,
    TinyUNetEncoder,
    VisibleEncoder,
    assert_replay_has_eager_bits,
    line,
    randn,
    train_step,
)

# ---------------------------------------------------------------------- skips and free axes


def unet(bottleneck=None, latent_dim=None):
    space = Space((None, None, 1))
    return line(
        space, latent_dim, encoder=TinyUNetEncoder(), decoder=TinyUNetDecoder(), bottleneck=bottleneck or Identity()
    )


@pytest.mark.parametrize("size", [(4, 4), (7, 5), (1, 9)])
def test_skips_on_free_axes(size):
    model = unet()
    x = randn(3, *size, 1)
    trace = model(Batch(x))
    assert trace.output.shape == x.shape
    assert trace.latent.z.shape == (3, -(-size[0] // 2), -(-size[1] // 2), 8)
    (skip,) = trace.latent.bypass.skips
    assert skip.shape == (3, *size, 4)
    # the decoder does read it: another skip, another output
    other = trace.latent._replace(bypass=trace.latent.bypass._replace(skips=(skip + 1,)))
    assert not torch.allclose(model.decode(other), trace.output)


def test_skips_are_repeated_with_the_samples():
    model = unet(bottleneck=Gaussian(), latent_dim=3)
    x = randn(2, 6, 6, 1)
    one, three = (model(Batch(x), n, noise=torch.zeros_like) for n in (1, 3))
    torch.testing.assert_close(three.output, one.output.repeat_interleave(3, 0))


def test_steps_with_skips_replay():
    def make():
        step = train_step(unet(bottleneck=Gaussian(), latent_dim=3), KLPrior())
        return step, [Batch(randn(4, 6, 6, 1, seed=i)) for i in range(5)]

    assert_replay_has_eager_bits(make)


@pytest.fixture(scope="module")
def fitted_unet():
    X = randn(60, 1, 6, 6, dtype=torch.float32).numpy()
    parts = {"encoder": TinyUNetEncoder(), "decoder": TinyUNetDecoder(), "bottleneck": "identity"}
    return Autoencoder(**parts, max_epochs=2, random_state=0).fit(X), X


def test_an_estimator_takes_a_u_net(fitted_unet):
    model, X = fitted_unet
    assert model.reconstruct(X).shape == X.shape
    assert model.transform(X).shape == (60, 3, 3, 8)


def test_the_code_alone_of_a_u_net_cannot_be_decoded(fitted_unet):
    model, X = fitted_unet
    with pytest.raises(UnsupportedError, match=r"inverse_transform needs the code alone.*TinyUNetEncoder"):
        model.inverse_transform(model.transform(X))
    with pytest.raises(UnsupportedError, match=r"sample needs the code alone.*TinyUNetEncoder"):
        model.sample(2)


# ---------------------------------------------------------------------- shapes, once


class Announces(Dense):
    """A dense neck, an encoder of the same map, or a decoder, that says one width and gives another."""

    def build(self, space, latent_dim=None):
        super().build(space, latent_dim)
        self.out = Space((9,))
        return self


class AnnouncesEncoder(MLPEncoder):
    def build(self, space):
        super().build(space)
        self.out = Space((9,))
        return self


class AnnouncesDecoder(MLPDecoder):
    def forward(self, latent, teacher=None):
        return super().forward(latent, teacher)[:, :-1]


class AnnouncesSkips(TinyUNetEncoder):
    def forward(self, seen):
        features = super().forward(seen)
        return features._replace(bypass=Bypass())


class AnnouncesSkipShape(TinyUNetEncoder):
    def build(self, space):
        super().build(space)
        self.out = self.out._replace(skips=(Space((*space.shape[:-1], 3)),))
        return self


class MeanError(SquaredError):
    def forward(self, output, target, mask=None):
        return super().forward(output, target, mask).mean()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": AnnouncesEncoder((5,))}, r"AnnouncesEncoder announces the shape \(9,\) and gives \(5,\)"),
        ({"bottleneck": Announces()}, r"Announces announces the shape \(9,\) and gives \(2,\)"),
        ({"decoder": AnnouncesDecoder((5,))}, r"AnnouncesDecoder announces the shape \(6,\) and gives \(5,\)"),
        ({"loss": MeanError()}, r"MeanError must give one number a sample"),
        ({"decoder": TinyUNetDecoder()}, r"decoder expects 1 skips, encoder gives 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_rehearsal_names_the_part_that_does_not_keep_its_word(parts, message):
    with pytest.raises(ShapeError, match=message):
        line(6, 2, **parts)


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (AnnouncesSkips(), TinyUNetDecoder(), "AnnouncesSkips announces 1 skips and gives 0"),
        (AnnouncesSkipShape(), TinyUNetDecoder(), r"announces the shape \(8, 8, 3\) and gives \(8, 8, 4\)"),
        (TinyUNetEncoder(), MLPDecoder(), "mlp decoder reads one vector a sample"),
    ],
)
def test_the_rehearsal_names_wrong_skips(encoder, decoder, message):
    with pytest.raises(ShapeError, match=message):
        line((8, 8, 1), None, encoder=encoder, decoder=decoder, bottleneck=Identity())


def test_the_rehearsal_moves_nothing():
    model = line(6, encoder=MLPEncoder((5,), normalization="batch", dropout=0.5))
    assert model.training
    assert torch.equal(model.encoder.layers[1].running_mean, torch.zeros(5, dtype=torch.float64))


# ---------------------------------------------------------------------- masks


LENGTHS = torch.tensor([5, 3, 1])
MASK = torch.arange(5) < LENGTHS[:, None]  # (3, 5)


def sequences(bottleneck, latent_dim=2):
    loss = GaussianNLL(1.0)
    return line(
        (None, 3), latent_dim, encoder=PositionEncoder(), decoder=PositionDecoder(), bottleneck=bottleneck, loss=loss
    )


@pytest.mark.parametrize(
    ("bottleneck", "penalty"),
    [
        (Gaussian(), KLPrior()),
        (Gaussian(), KLPrior(free_bits=0.5)),
        (Dense("sigmoid"), KLSparsity()),
        (Dense(), L1Activity()),
        (Dense("tanh"), Contractive()),
        (Dense("tanh"), Contractive(n_probes=1)),
    ],
    ids=repr,
)
def test_padding_counts_for_nothing(bottleneck, penalty):
    step = train_step(sequences(bottleneck), penalty)
    x, results = randn(3, 5, 3), []
    for padding in (0.0, 7.0):
        padded = torch.where(MASK.unsqueeze(-1), x, padding)
        total, terms = step(Batch(padded, x_mask=MASK), seeded_noise(0))
        results.append([*terms.values(), *torch.autograd.grad(total, list(step.parameters()))])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


def test_kl_and_log_ratio_are_zero_at_padding():
    model = sequences(Gaussian())
    x = randn(3, 5, 3)
    whole = model(Batch(x, x_mask=MASK), noise=seeded_noise(0)).latent
    assert (whole.kl[~MASK] == 0).all()
    assert (whole.kl[MASK] > 0).all()
    # the second row alone, without its padding
    noise = seeded_noise(0)(torch.empty(3, 5, 2, dtype=torch.float64))[1:2, :3]
    alone = model(Batch(x[1:2, :3]), noise=lambda _: noise).latent
    torch.testing.assert_close(whole.log_ratio[1:2], alone.log_ratio, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.kl[1:2, :3], alone.kl, rtol=1e-12, atol=1e-12)


def test_a_loss_of_observed_cells_only():
    model = line(4, loss=SquaredError())
    x, observed = randn(3, 4), torch.tensor([[True, False, True, True]] * 3)
    trace = model(Batch(x, x_mask=observed))
    expected = (trace.output - x).square()[:, [0, 2, 3]].sum(1)
    torch.testing.assert_close(model.loss(trace.output, trace.target, trace.mask), expected)


# ---------------------------------------------------------------------- one step after another


def stepwise(real: bool, length=None):
    space = Space((length, 3)) if real else Space((length,), classes=4)
    parts = {"encoder": LastEncoder(), "decoder": StepDecoder()}
    return line(space, 6, **parts, loss=SquaredError() if real else CrossEntropy())


def stepwise_batch(real: bool) -> Batch:
    return Batch(randn(3, 5, 3) if real else torch.arange(15).view(3, 5) % 4, x_mask=MASK)


@pytest.mark.parametrize("real", [True, False], ids=["real", "classes"])
def test_stepping_gives_the_teacher_forced_numbers(real):
    model, batch = stepwise(real), stepwise_batch(real)
    trace = model(batch)
    state, outputs = model.decoder.start(trace.latent), []
    begin = torch.zeros(3, 3, dtype=torch.float64) if real else torch.full((3,), 5)
    previous = begin
    for t in range(trace.target.shape[1]):
        output, state = model.decoder.step(previous, state)
        outputs.append(output)
        previous = trace.target[:, t]
    torch.testing.assert_close(torch.stack(outputs, 1), trace.output, rtol=0, atol=1e-6)


def test_a_state_selects_rows():
    model, batch = stepwise(True), stepwise_batch(True)
    state, rows = model.decoder.start(model(batch).latent), torch.tensor([2, 0, 0])
    previous = randn(3, 3)
    whole, _ = model.decoder.step(previous, state)
    some, _ = model.decoder.step(previous[rows], state.select(rows))
    torch.testing.assert_close(some, whole[rows])


def test_classes_gain_an_end_and_a_beginning():
    # classes 0 and 1, the end is 2, the beginning 3; the second row has one position of padding
    space = Space((2,), classes=2)
    model = line(space, 6, encoder=LastEncoder(), decoder=StepDecoder(), loss=CrossEntropy())
    x, mask = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, True], [True, False]])
    trace = model(Batch(x, x_mask=mask))
    assert trace.target.tolist() == [[0, 1, 2], [1, 2, 2]]
    assert trace.mask.tolist() == [[True, True, True], [True, True, False]]
    assert trace.output.shape == (2, 3, 3)
    target, _, teacher = teacher_forced(x, mask, 2)
    assert teacher.tolist() == [[3, 0, 1], [3, 1, 2]]
    assert torch.equal(target, trace.target)


def test_real_numbers_are_shifted_by_one():
    y = randn(2, 3, 3)
    target, mask, teacher = teacher_forced(y, None, None)
    assert torch.equal(target, y)
    assert mask is None
    assert torch.equal(teacher[:, 0], torch.zeros(2, 3))
    assert torch.equal(teacher[:, 1:], y[:, :-1])


@pytest.mark.parametrize("real", [True, False], ids=["real", "classes"])
def test_stepwise_steps_replay(real):
    def make():
        return train_step(stepwise(real)), [stepwise_batch(real)] * 3

    assert_replay_has_eager_bits(make)


# ---------------------------------------------------------------------- several samples a row


def test_samples_lie_next_to_one_another():
    model, x = line(4, bottleneck=Gaussian()), randn(3, 4)
    trace = model(Batch(x), n_samples=2, noise=seeded_noise(0))
    assert trace.features.h.shape[0] == 3
    assert trace.latent.z.shape == (6, 2)
    assert torch.equal(trace.target, x[[0, 0, 1, 1, 2, 2]])
    assert torch.allclose(trace.latent.pre[0], trace.latent.pre[1])
    assert not torch.equal(trace.latent.z[0], trace.latent.z[1])


def test_repeat_rows_walks_a_tree():
    tree = Features(torch.tensor([[1.0], [2.0]]), Bypass(skips=(torch.tensor([3, 4]),)))
    repeated = repeat_rows(tree, 2)
    assert isinstance(repeated, Features)
    assert repeated.h.flatten().tolist() == [1, 1, 2, 2]
    assert repeated.bypass.skips[0].tolist() == [3, 3, 4, 4]
    assert repeated.bypass.mask is None


# ---------------------------------------------------------------------- a masked autoencoder


def masked_autoencoder():
    parts = {"encoder": VisibleEncoder(), "decoder": FillingDecoder(), "corruption": Hide(2)}
    return line((5, 3), 4, **parts)


def test_the_encoder_sees_the_visible_positions_alone():
    model, x = masked_autoencoder(), randn(6, 5, 3)
    trace = model(Batch(x), noise=seeded_noise(0))
    assert trace.seen.x.shape == (6, 2, 3)
    assert trace.latent.z.shape == (6, 2, 4)
    assert trace.output.shape == x.shape
    shown = ~trace.seen.hidden
    assert (shown.sum(1) == 2).all()
    for row in range(6):
        assert set(shown[row].nonzero().flatten().tolist()) == set(trace.seen.bypass.positions[row].tolist())
    # what is hidden does not reach the output
    other = torch.where(shown.unsqueeze(-1), x, 9.0)
    torch.testing.assert_close(model(Batch(other), noise=seeded_noise(0)).output, trace.output)


def test_an_objective_reads_what_was_hidden():
    step = train_step(masked_autoencoder(), objective=HiddenOnly())
    x = randn(6, 5, 3)
    trace = step.model(Batch(x), noise=seeded_noise(0))
    total, _ = step(Batch(x), seeded_noise(0))
    by_hand = (trace.output - x).square().sum(-1)[trace.seen.hidden].sum() / 6
    torch.testing.assert_close(total, by_hand)


def test_masked_steps_replay():
    def make():
        step = train_step(masked_autoencoder(), objective=HiddenOnly())
        return step, [Batch(randn(6, 5, 3, seed=i)) for i in range(5)]

    assert_replay_has_eager_bits(make)


# ---------------------------------------------------------------------- a condition


def conditional():
    return line(Space((4,), condition=2), 2, bottleneck=Gaussian(), loss=GaussianNLL(1.0))


def test_a_condition_reaches_encoder_and_decoder():
    model, x = conditional(), randn(3, 4)
    first, second = (model(Batch(x, condition=told), noise=torch.zeros_like) for told in randn(2, 3, 2))
    assert not torch.allclose(first.latent.z, second.latent.z)
    mixed = model.decode(Latent(first.latent.z, second.latent.bypass))
    assert not torch.allclose(mixed, first.output)
    three = model(Batch(x, condition=randn(2, 3, 2)[0]), 3, noise=torch.zeros_like)
    torch.testing.assert_close(three.output, first.output.repeat_interleave(3, 0))


def test_a_conditional_model_learns_by_its_condition():
    # x is ±1 in all columns by the label alone, so given the label nothing is left for the code to say
    label = torch.arange(64) % 2
    told = torch.nn.functional.one_hot(label, 2).double()
    x = (2.0 * label - 1).unsqueeze(1).expand(64, 4).double()

    def make(n=3):
        return train_step(conditional(), KLPrior()), [Batch(x, condition=told)] * n

    assert_replay_has_eager_bits(make, SGD())
    step, batches = make(150)
    optimizer = torch.optim.Adam(step.parameters(), 0.03)
    torch.manual_seed(0)
    for batch in batches:
        optimizer.zero_grad()
        total, terms = step(batch)
        total.backward()
        optimizer.step()
    assert terms["kl_prior"] < 0.05
    drawn = step.model.decode(step.model.bottleneck.sample(64)._replace(bypass=Bypass(condition=told)))
    assert (drawn - x).abs().max() < 0.5


@pytest.mark.parametrize("told", [None, torch.zeros(3, 5)], ids=["none", "five"])
def test_a_condition_of_another_width_is_refused(told):
    with pytest.raises(ShapeError, match="condition must have width 2, as built, got"):
        conditional()(Batch(randn(3, 4), condition=told))


# ---------------------------------------------------------------------- units, verbs, noise


def test_forward_joins_encode_and_decode():
    model, x = line(4, bottleneck=Gaussian()), randn(3, 4)
    trace = model(Batch(x), noise=seeded_noise(0))
    _, _, latent = model.encode(Batch(x), noise=seeded_noise(0))
    assert torch.equal(latent.z, trace.latent.z)
    assert torch.equal(model.decode(latent), trace.output)


def test_only_the_input_is_corrupted():
    class Zero(Corruption):
        def forward(self, seen, noise=torch.randn_like):
            return seen._replace(x=seen.x * 0)

    model, x = line(4, corruption=Zero()), randn(3, 4)
    trace = model(Batch(x))
    assert (trace.seen.x == 0).all()
    assert torch.equal(trace.target, x)
    assert torch.equal(model(Batch(x), corrupt=False).seen.x, x)


def test_scaled_in_and_back_in_the_users_units():
    model, x = line(4, scaler=StandardScaler()), 5 + 3 * randn(50, 4)
    model.scaler.fit(x)
    trace = model(Batch(x))
    torch.testing.assert_close(trace.target.mean(0), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(trace.target, trace.seen.x)
    torch.testing.assert_close(model.prediction(trace.target), x)
    assert torch.equal(model(Batch(trace.target), scaled=True).output, trace.output)


def test_a_target_of_another_shape_keeps_its_units():
    model, x = line(4, target=Space((3,)), scaler=StandardScaler(), double=False), 5 + 3 * randn(50, 4)
    model.scaler.fit(x)
    y = randn(50, 3) * 100
    trace = model(Batch(x, y))
    assert trace.output.shape == (50, 3)
    assert trace.target.dtype == trace.output.dtype == torch.float32
    torch.testing.assert_close(trace.target, y.float())
    assert torch.equal(model.prediction(trace.output), trace.output)


def picture_to_labels(loss, target):
    """A line from scaled pictures of two channels to a target of its own; and ten pictures."""
    parts = {"encoder": MLPEncoder((32,)), "decoder": MLPDecoder((32,)), "scaler": StandardScaler()}
    model = line((4, 5, 2), 8, target=target, loss=loss, double=False, **parts)
    x = 5 + 3 * randn(10, 4, 5, 2, dtype=torch.float32)
    model.scaler.fit(x)
    return model, x


def test_a_picture_goes_in_and_labels_come_out():
    model, x = picture_to_labels(CrossEntropy(), Space((4, 5), classes=3))
    y, mask = torch.randint(3, (10, 4, 5)), torch.rand(10, 4, 5) < 0.7
    trace = model(Batch(x, y, y_mask=mask))
    assert abs(trace.seen.x.mean()) < 1e-5  # the picture is scaled, its labels and its prediction are not
    assert torch.equal(trace.target, y)
    assert torch.equal(trace.mask, mask)
    assert trace.seen.bypass.mask is None
    assert trace.output.shape == (10, 4, 5, 3)
    predicted = model.prediction(trace.output)
    torch.testing.assert_close(predicted.sum(-1), torch.ones(10, 4, 5))
    by_hand = -(predicted.log().gather(-1, y.unsqueeze(-1)).squeeze(-1) * mask).sum((1, 2))
    torch.testing.assert_close(model.loss(trace.output, trace.target, trace.mask), by_hand)
    elsewhere = torch.where(mask, y, 99)
    assert torch.equal(model.loss(trace.output, elsewhere, trace.mask), model.loss(trace.output, y, trace.mask))
    two = model(Batch(x, y, y_mask=mask), 2, noise=torch.zeros_like)
    assert two.target.shape == two.mask.shape == (20, 4, 5)


def test_a_picture_goes_in_and_several_labels_a_place_come_out():
    model, x = picture_to_labels(Dice(), Space((4, 5, 3)))
    y = torch.randint(2, (10, 4, 5, 3))
    trace = model(Batch(x, y, y_mask=torch.ones(10, 4, 5, dtype=torch.bool)))
    assert torch.equal(trace.target, y.float())
    torch.testing.assert_close(model.prediction(trace.output), trace.output.sigmoid())


@pytest.mark.parametrize("loss", [CrossEntropy(), SumLoss()], ids=repr)
def test_labels_of_a_picture_are_learnt(loss):
    model, x = picture_to_labels(loss, Space((4, 5), classes=3))
    y = (x.mean(-1) > 4).long() + (x.mean(-1) > 6).long()
    step, batch = train_step(model), Batch(model.scale(x)[0], y)
    optimizer = torch.optim.Adam(step.parameters(), 0.03)
    torch.manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        step(batch)[0].backward()
        optimizer.step()
    right = model.prediction(model(Batch(x, y)).output).argmax(-1) == y
    assert right.double().mean() > 0.95


def test_randomness_enters_by_the_noise_alone():
    model, x = line(4, bottleneck=Gaussian()), randn(3, 4)
    before = torch.get_rng_state()
    first, second = (model(Batch(x), noise=torch.zeros_like) for _ in range(2))
    assert torch.equal(first.output, second.output)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.latent.z, first.latent.pre)
