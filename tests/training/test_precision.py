"""Where 16 bits are taken without being asked for."""

import numpy as np
import pytest

from isthmus import LBFGS, Adam, Autoencoder, ConvEncoder, MLPEncoder, RNNEncoder, TransformerEncoder, UNetEncoder
from isthmus.training import precision
from isthmus.training.precision import fitting_precision
from isthmus.types import Space


@pytest.fixture
def tiles(monkeypatch):
    monkeypatch.setattr(precision, "has_matrix_tiles", lambda: True)


def network(encoder):
    return encoder.build((16, 16, 1) if not isinstance(encoder, MLPEncoder) else (16,))


def test_wide_convolutions_take_it_and_others_do_not(tiles):
    assert fitting_precision(network(UNetEncoder((16, 32))), "auto", Adam()) == "bf16-mixed"
    assert fitting_precision(network(ConvEncoder((8, 16))), "auto", Adam()) == "32-true"
    assert fitting_precision(network(MLPEncoder((512, 512))), "auto", Adam()) == "32-true"


TEXT, SERIES = Space((None,), classes=9), Space((None, 3))


@pytest.mark.parametrize(
    ("encoder", "space", "said"),
    [
        (RNNEncoder(128, pool=None), TEXT, "bf16-mixed"),
        (RNNEncoder(64, pool=None), TEXT, "32-true"),
        (TransformerEncoder(128, 4, 1), TEXT, "bf16-mixed"),
        (TransformerEncoder(64, 4, 1), TEXT, "32-true"),
        (RNNEncoder(128, pool=None), SERIES, "32-true"),
        (TransformerEncoder(128, 4, 1, positions="learnt"), SERIES, "32-true"),
    ],
)
def test_wide_readers_of_texts_take_it_and_readers_of_series_do_not(encoder, space, said, tiles):
    assert fitting_precision(encoder.build(space), "auto", Adam()) == said


def test_what_is_asked_for_is_what_is_taken(tiles):
    assert fitting_precision(network(UNetEncoder((16, 32))), "32-true", Adam()) == "32-true"
    assert fitting_precision(network(ConvEncoder((8, 16))), "bf16-mixed", Adam()) == "bf16-mixed"


def test_l_bfgs_keeps_32_bits(tiles):
    assert fitting_precision(network(UNetEncoder((16, 32))), "auto", LBFGS()) == "32-true"


def test_a_processor_without_tiles_keeps_32_bits(monkeypatch):
    monkeypatch.setattr(precision, "has_matrix_tiles", lambda: False)
    assert fitting_precision(network(UNetEncoder((16, 32))), "auto", Adam()) == "32-true"


def test_a_fit_takes_what_the_rule_says_and_keeps_weights_of_32_bits(tiles):
    X = np.random.default_rng(0).random((32, 16, 16), dtype=np.float32)

    def weights(asked):
        model = Autoencoder(encoder=ConvEncoder((8, 32)), precision=asked, max_epochs=1, random_state=0).fit(X)
        return np.concatenate([p.detach().numpy().ravel() for p in model.module_.parameters()])

    found = weights("auto")
    assert found.dtype == np.float32
    assert np.array_equal(found, weights("bf16-mixed"))
    assert not np.array_equal(found, weights("32-true"))
