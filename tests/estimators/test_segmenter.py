"""Segmentation: labels as given, several tasks, ignored positions, weights, refusals, the model kept."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import isthmus
from isthmus import CrossEntropy, Segmenter, UNetDecoder, UNetEncoder
from isthmus.errors import DataError, ParameterError, UnsupportedError
from isthmus.estimators.inference import NotFittedError

SMALL = UNetEncoder((6, 8))
QUICK = {"encoder": SMALL, "max_epochs": 2, "random_state": 0}


def discs(n=24, size=20, seed=0):
    """Bright discs on a dark ground, with noise, and where they are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    inside = np.stack([np.hypot(y - rng.uniform(5, 15), x - rng.uniform(5, 15)) < rng.uniform(3, 6) for _ in range(n)])
    return (60 + 100 * inside + rng.normal(0, 20, inside.shape)).clip(0, 255).astype(np.uint8), inside


@pytest.fixture(scope="module")
def trained():
    X, inside = discs(64)
    return Segmenter(encoder=SMALL, max_epochs=15, learning_rate=1e-2, random_state=0).fit(X, np.where(inside, 255, 0))


def test_labels_come_back_as_given(trained):
    X, inside = discs(8, 33, seed=1)  # another size, too
    truth = np.where(inside, 255, 0)
    found = trained.predict(X)
    assert trained.classes_.tolist() == [0, 255]
    assert found.dtype == trained.classes_.dtype
    assert set(np.unique(found)) == {0, 255}
    assert (found == truth).mean() > 0.97
    assert trained.score(X, truth) > 0.93
    probabilities = trained.predict_proba(X)
    assert probabilities.shape == (8, 2, 33, 33)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(trained.classes_[probabilities.argmax(1)], found)


def test_pictures_of_several_sizes(trained):
    X, _ = discs(3, 40, seed=2)
    several = [X[0], X[1, :21, :34], X[2, :40, :9]]
    assert [found.shape for found in trained.predict(several)] == [(40, 40), (21, 34), (40, 9)]
    assert [found.shape for found in trained.predict_proba(several)] == [(2, 40, 40), (2, 21, 34), (2, 40, 9)]
    np.testing.assert_array_equal(trained.predict(several)[1], trained.predict(several[1][np.newaxis])[0])
    masks = [found.copy() for found in trained.predict(several)]
    assert trained.score(several, masks) == 1
    fitted = clone(trained).set_params(max_epochs=1, patch_size=8).fit(several, masks)
    assert len(fitted.predict(several)) == 3


def test_several_classes():
    X, inside = discs(24)
    masks = inside.astype(int)
    masks[:, :4] = 7
    model = Segmenter(encoder=SMALL, max_epochs=3, random_state=0, class_weight={7: 2.0}).fit(X, masks)
    assert model.classes_.tolist() == [0, 1, 7]
    assert model.predict_proba(X).shape == (24, 3, 20, 20)
    assert model.module_.loss.losses[0].class_weight == [1.0, 1.0, 2.0]


def test_several_labels_at_once():
    X, inside = discs(48)
    masks = np.stack([inside, np.ones_like(inside), X > 200], 1)
    model = Segmenter(encoder=SMALL, multilabel=True, max_epochs=15, learning_rate=1e-2, random_state=0).fit(X, masks)
    found = model.predict(X)
    assert found.shape == masks.shape
    assert set(np.unique(found)) <= {0, 1}
    assert (found[:, 0] == masks[:, 0]).mean() > 0.95
    assert not model.module_.scales_target
    one = Segmenter(multilabel=True, **QUICK).fit(X, masks[:, :1])  # as many labels as channels
    assert one.predict_proba(X).max() <= 1


def test_ignored_positions_teach_nothing():
    X, inside = discs()
    masks = np.where(inside, 3, 1)
    spoiled = masks.copy()
    spoiled[:, 10:] = 99
    model = Segmenter(ignore_label=99, validation_fraction=0, **QUICK).fit(X, spoiled)
    assert model.classes_.tolist() == [1, 3]
    rows = model._rows(X, spoiled, reset=False)
    step = isthmus.TrainStep(model.module_, model.objective_).eval()
    totals = []
    for labels in (rows.y, rows.y.masked_fill(~rows.y_mask, 1)):
        batch = rows._replace(x=model.module_.scale(rows.x)[0], y=labels)
        totals.append(step(batch)[0])
    assert totals[0] == totals[1]
    found = model.predict(X)
    elsewhere = np.where(spoiled == 99, 99, found)
    assert model.score(X, elsewhere) == 1


def test_balanced_weights():
    X, inside = discs()
    model = Segmenter(class_weight="balanced", validation_fraction=0, **QUICK).fit(X, inside)
    share = inside.mean()
    np.testing.assert_allclose(model.module_.loss.losses[0].class_weight, [0.5 / (1 - share), 0.5 / share])


def test_volumes():
    rng = np.random.default_rng(0)
    X = rng.random((4, 6, 10, 10)).astype(np.float32)
    model = Segmenter(encoder=UNetEncoder((4, 6), spacing=(3, 1, 1), dims=3), max_epochs=1, random_state=0)
    assert model.fit(X, X > 0.5).predict(X[:, :5, :9]).shape == (4, 5, 9, 10)


def test_signals():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 2, 40))
    model = Segmenter(encoder=UNetEncoder((4, 6), dims=1), max_epochs=1, random_state=0).fit(X, X[:, 0] > 0)
    assert model.predict(X[:, :, :33]).shape == (12, 33)
    assert model.predict_proba(X).shape == (12, 2, 40)
    assert 0 <= model.score(X, X[:, 0] > 0) <= 1


def test_arrays_in_a_file_are_no_folders(tmp_path):
    X, inside = discs(6)
    np.savez(tmp_path / "both.npz", images=X, masks=inside)
    images, masks = (f"{tmp_path / 'both.npz'}:{name}" for name in ("images", "masks"))
    model = Segmenter(**QUICK).fit(images, masks)
    np.testing.assert_array_equal(model.predict(images), model.predict(X))
    assert model.score(images, masks) == model.score(X, inside)


def test_colour_and_augmentations():
    rng = np.random.default_rng(0)
    X, masks = rng.integers(0, 255, (6, 3, 12, 14), np.uint8), rng.integers(0, 2, (6, 12, 14))
    model = Segmenter(patch_size=8, augmentations=["flip", "quarter_turn", "elastic", "intensity"], **QUICK)
    assert model.fit(X, masks).set_params(test_time_augmentation=True, tile_size=8).predict(X).shape == (6, 12, 14)


def test_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    X, inside = discs(6)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i, (picture, mask) in enumerate(zip(X, inside, strict=True)):
        image.fromarray(picture).save(tmp_path / "images" / f"{i}.png")
        image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(tmp_path / "masks" / f"{i}_mask.png")
    images, masks = tmp_path / "images", tmp_path / "masks"
    model = Segmenter(**QUICK).fit(images, masks)
    assert model.classes_.tolist() == [0, 255]
    assert model.predict(images).shape == (6, 20, 20)
    assert 0 <= model.score(images, masks) <= 1


def test_supervision_at_several_levels():
    X, inside = discs()
    encoder, decoder = UNetEncoder((4, 6, 8)), UNetDecoder((6, 4), deep_supervision=2)
    loss = isthmus.DeepSupervision(levels=2)
    model = Segmenter(encoder=encoder, decoder=decoder, loss=loss, max_epochs=1, random_state=0).fit(X, inside)
    assert model.predict_proba(X).shape == (24, 2, 20, 20)


def test_the_model_is_kept(trained, tmp_path):
    X, inside = discs(4, 27, seed=3)
    trained.save(tmp_path / "model")
    for again in (isthmus.load(tmp_path / "model"), pickle.loads(pickle.dumps(trained))):
        np.testing.assert_array_equal(again.predict_proba(X), trained.predict_proba(X))
        assert again.classes_.tolist() == [0, 255]
        assert again.score(X, np.where(inside, 255, 0)) == trained.score(X, np.where(inside, 255, 0))


def test_the_same_seed_gives_the_same_weights():
    X, inside = discs(12)
    first, second = (Segmenter(augmentations=["flip"], **QUICK).fit(X, inside) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


X, MASKS = discs(4)


@pytest.mark.parametrize(
    ("params", "y", "error", "message"),
    [
        ({}, None, DataError, "y must be the masks"),
        ({}, MASKS[:3], DataError, "y must have a label for each position"),
        ({}, MASKS[:, :9], DataError, "y must have a label for each position"),
        ({}, MASKS * 0.5, DataError, "y must hold labels, whole numbers"),
        ({}, MASKS * 0, DataError, "at least 2 labels"),
        ({"ignore_label": 1}, MASKS * 1, DataError, "at least 2 labels"),
        ({"multilabel": True}, MASKS, DataError, r"y must be \(n, L, \*positions\)"),
        ({"multilabel": True}, MASKS[:, None] * 3, DataError, "0 and 1"),
        ({"class_weight": {5: 1.0}}, MASKS, ParameterError, r"class_weight must be .*\[5\]"),
        ({"class_weight": "heavy"}, MASKS, ParameterError, "class_weight must be"),
        (
            {"class_weight": "balanced", "loss": CrossEntropy()},
            MASKS,
            ParameterError,
            "class_weight must be None unless",
        ),
        ({"ignore_label": 0.5}, MASKS, ParameterError, "ignore_label must be"),
        ({"loss": "hinge"}, MASKS, ParameterError, "loss must be one of"),
        ({"patch_size": "big"}, MASKS, ParameterError, "patch_size must be"),
    ],
    ids=str,
)
def test_refused_before_training(params, y, error, message):
    with pytest.raises(error, match=message):
        Segmenter(**params).fit(X, y)


def test_refused_afterwards(trained):
    with pytest.raises(DataError, match="labels of training"):
        Segmenter(**QUICK).fit(X, MASKS, validation_data=(X, MASKS * 7))
    with pytest.raises(UnsupportedError, match="predict"):
        trained.reconstruct(X)
    with pytest.raises(NotFittedError, match="call fit"):
        Segmenter().predict(X)
    with pytest.raises(DataError, match="y must be the masks"):
        trained.score(X)
