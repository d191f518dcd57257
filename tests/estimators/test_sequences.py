"""The autoencoders on series of unequal lengths and on texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import isthmus
from isthmus import (
    AnomalyDetector,
    Autoencoder,
    Binarize,
    ContractiveAutoencoder,
    ConvEncoder,
    DenoisingAutoencoder,
    RNNEncoder,
    SparseAutoencoder,
    TransformerEncoder,
    VariationalAutoencoder,
    adapters,
)
from isthmus.errors import DataError, IsthmusError
from isthmus.estimators.inference import _chunk_end
from isthmus.estimators.sequences import layout_of

EVERY = [Autoencoder, DenoisingAutoencoder, SparseAutoencoder, ContractiveAutoencoder, VariationalAutoencoder]
TEXTS = ["the dog runs", "a man runs fast", "the man sleeps", "a dog sleeps here", "the cat"] * 12
SMALL = {"encoder": RNNEncoder(16), "latent_dim": 4, "max_epochs": 2, "random_state": 0}


def waves(n=40, width=2, seed=0, longest=20):
    """Sines of random pace, phase and length, ``(T, width)`` each."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        t = np.arange(generator.integers(3, longest + 1))[:, None] * generator.uniform(0.2, 0.8)
        made.append((10 + 5 * np.sin(t + generator.uniform(0, 6, (1, width)))).astype(np.float32))
    return made


@pytest.mark.parametrize("cls", EVERY)
def test_every_autoencoder_takes_unequal_series(cls, tmp_path):
    series = waves()
    model = cls(**SMALL).fit(series)
    codes, rebuilt = model.transform(series), model.reconstruct(series)
    assert codes.shape == (40, 4)
    assert [row.shape for row in rebuilt] == [row.shape for row in series]
    assert [row.shape for row in model.inverse_transform(codes[:3], lengths=[4, 7, 1])] == [(4, 2), (7, 2), (1, 2)]
    assert model.inverse_transform(codes[:3]).shape == (3, max(map(len, series)), 2)
    np.testing.assert_allclose(model.inverse_transform(codes[:1], lengths=len(series[0]))[0], rebuilt[0], rtol=1e-4)
    model.save(tmp_path / "model")
    for mine, loaded in zip(rebuilt, isthmus.load(tmp_path / "model").reconstruct(series), strict=True):
        np.testing.assert_array_equal(mine, loaded)


@pytest.mark.parametrize("cls", [cls for cls in EVERY if cls is not ContractiveAutoencoder])
def test_every_autoencoder_takes_texts(cls, tmp_path):
    model = cls(**SMALL).fit(TEXTS)
    codes, rebuilt = model.transform(TEXTS), model.reconstruct(TEXTS)
    assert codes.shape == (60, 4)
    assert [len(text.split()) for text in rebuilt] == [len(text.split()) for text in TEXTS]
    assert [len(text.split()) for text in model.inverse_transform(codes[:2], lengths=[1, 3])] == [1, 3]
    model.save(tmp_path / "model")
    assert isthmus.load(tmp_path / "model").reconstruct(TEXTS) == rebuilt


def test_texts_are_learnt_by_heart():
    model = Autoencoder(latent_dim=8, encoder=RNNEncoder(64), max_epochs=60, patience=None, random_state=0).fit(TEXTS)
    assert model.reconstruct(TEXTS[:5]) == TEXTS[:5]
    assert model.inverse_transform(model.transform(TEXTS[:5])) == TEXTS[:5]  # each knows its own end


@pytest.mark.parametrize("encoder", [RNNEncoder(16), TransformerEncoder(16, 2, 1), RNNEncoder(16, pool="mean")])
def test_padding_changes_nothing(encoder):
    """A series alone and beside a longer one: the same code, reconstruction and score."""
    series = waves()
    bottleneck = "identity" if isinstance(encoder, TransformerEncoder) else "dense"
    model = Autoencoder(**SMALL | {"encoder": encoder, "bottleneck": bottleneck, "latent_dim": "auto"}).fit(series)
    codes, rebuilt, scores = model.transform(series), model.reconstruct(series), model.score_samples(series)
    for i in range(5):
        np.testing.assert_allclose(model.transform(series[i : i + 1])[0], codes[i], atol=1e-5)
        np.testing.assert_allclose(model.reconstruct(series[i : i + 1])[0], rebuilt[i], atol=1e-4)
        np.testing.assert_allclose(model.score_samples(series[i : i + 1]), scores[i : i + 1], rtol=1e-5)


def test_the_score_is_minus_the_squared_error_of_the_series_alone():
    series = waves()
    model = Autoencoder(**SMALL).fit(series)
    everything = np.concatenate(series)
    deviation = everything.std(0)
    mine = [
        -np.square((row - rebuilt) / deviation).sum()
        for row, rebuilt in zip(series, model.reconstruct(series), strict=True)
    ]
    np.testing.assert_allclose(model.score_samples(series), mine, rtol=1e-4)


def test_likelihoods_of_series_are_densities_of_the_data_as_given():
    """In units a hundred times as small, each number's log-density is log 100 more."""
    series = waves()
    model, other = (VariationalAutoencoder(**SMALL).fit(rows) for rows in (series, [row / 100 for row in series]))
    grown = other.elbo([row / 100 for row in series]) - model.elbo(series)
    np.testing.assert_allclose(grown, [row.size * np.log(100) for row in series], rtol=1e-3)


def test_elbo_is_below_the_likelihood_of_texts():
    model = VariationalAutoencoder(**SMALL | {"max_epochs": 20}).fit(TEXTS)
    elbo, likelihood = model.elbo(TEXTS[:5], 200), model.log_likelihood(TEXTS[:5], 500)
    assert (elbo < likelihood + 0.05).all()
    assert (likelihood < 0).all()
    assert len(model.sample(3, random_state=0)) == 3
    assert len(model.interpolate(TEXTS[0], TEXTS[1], 4)) == 4


def test_samples_and_paths_of_series_have_the_length_asked_for():
    model = VariationalAutoencoder(**SMALL).fit(waves())
    assert [row.shape for row in model.sample(2, lengths=[3, 9], random_state=0)] == [(3, 2), (9, 2)]
    between = model.interpolate(np.ones((4, 2), np.float32), np.ones((10, 2), np.float32), 4)
    assert [len(row) for row in between] == [4, 6, 8, 10]


def test_arrays_and_series_of_one_number():
    cube = np.stack([row[:3] for row in waves()])
    model = Autoencoder(**SMALL).fit(cube)
    assert model.reconstruct(cube).shape == cube.shape
    assert model.reconstruct(cube[:, :2]).shape == (40, 2, 2)  # another length than in training
    flat = Autoencoder(**SMALL).fit([row[:, 0] for row in waves()])
    assert [row.shape for row in flat.reconstruct([np.ones(3), np.ones(5)])] == [(3,), (5,)]
    assert Autoencoder(**SMALL).fit(cube[..., 0]).reconstruct(cube[..., 0]).shape == (40, 3)


def test_a_code_a_position():
    series = waves()
    named = {"encoder": TransformerEncoder(16, 2, 1), "bottleneck": "identity", "latent_dim": "auto"}
    model = Autoencoder(**SMALL | named).fit(series)
    assert [code.shape for code in model.transform(series)] == [(len(row), 16) for row in series]


def test_pairs_of_noisy_and_clean():
    clean, generator = waves(), np.random.default_rng(0)
    noisy = [row + generator.normal(size=row.shape).astype(np.float32) for row in clean]
    model = DenoisingAutoencoder(**SMALL).fit(noisy, clean)
    assert model.module_.corruption is None
    assert [row.shape for row in model.reconstruct(noisy)] == [row.shape for row in clean]
    pairs = DenoisingAutoencoder(**SMALL).fit(["teh dog", "a mna"] * 10, ["the dog", "a man"] * 10)
    assert len(pairs.reconstruct(["teh dog"])) == 1
    assert len(DenoisingAutoencoder(**SMALL).fit(TEXTS).corrupt(TEXTS)) == len(TEXTS)


def test_a_detector_of_odd_series():
    series = waves(80)
    series[7] = series[7] + 30
    detector = AnomalyDetector(Autoencoder(**SMALL | {"max_epochs": 30}), random_state=0).fit(series)
    assert detector.score_samples(series).argmin() == 7
    assert [row.shape for row in detector.explain(series[:3])] == [row.shape for row in series[:3]]


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
def test_a_detector_of_odd_texts(tokenizer, tmp_path):
    texts = [*TEXTS * 3, "runs the the fast here cat"]
    estimator = VariationalAutoencoder(**SMALL | {"max_epochs": 20, "tokenizer": tokenizer})
    detector = AnomalyDetector(estimator, contamination=0.01, random_state=0).fit(texts)
    assert detector.score_samples(texts).argmin() == len(texts) - 1
    assert detector.predict(texts)[-1] == -1
    detector.save(tmp_path / "model")
    np.testing.assert_array_equal(isthmus.load(tmp_path / "model").score_samples(texts), detector.score_samples(texts))
    with pytest.raises(IsthmusError, match="explain needs numbers"):
        detector.explain(texts)
    with pytest.raises(IsthmusError, match="sample_weight must be None for texts"):
        AnomalyDetector(estimator).fit(texts, sample_weight=np.ones(len(texts)))
    with pytest.raises(IsthmusError, match="estimator must be given for texts"):
        AnomalyDetector().fit(texts)


def test_the_same_seed_gives_the_same_weights():
    first, second = (Autoencoder(**SMALL).fit(waves()).module_.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("data", "encoder", "layout"),
    [
        (TEXTS, "auto", "texts"),
        (waves(3), "auto", "series"),
        ([np.ones(3), np.ones(4)], "auto", "series"),
        ([np.ones((3, 2)), np.ones((3, 2))], "auto", "rows"),  # one array of pictures
        ([np.ones((9, 8), np.uint8), np.ones((7, 8), np.uint8)], "auto", "rows"),  # bytes are pictures
        ([np.ones((9, 8)), np.ones((7, 6))], "auto", "rows"),
        (waves(3), ConvEncoder((4,), pool=None), "rows"),
        (np.ones((3, 4, 2)), "rnn", "series"),
        (np.ones((3, 4, 2)), "auto", "rows"),
        ([[1.0, 2.0], [3.0, 4.0]], "auto", "rows"),
    ],
)
def test_what_a_list_is_taken_for(data, encoder, layout):
    assert layout_of(data, encoder) == layout


def fitted_on(rows, **more):
    return Autoencoder(**SMALL | more).fit(rows)


REFUSED = {
    "NaN": (lambda: fitted_on([np.array([1.0, np.nan]), np.ones(3)]), r"X\[0\] must be finite, got NaN"),
    "infinity": (lambda: fitted_on([np.ones(2), np.array([1.0, np.inf, 2])]), r"X\[1\] must be finite, got infinity"),
    "widths": (lambda: fitted_on([np.ones((3, 2)), np.ones((4, 3))]), r"X\[1\] must be as wide as X\[0\]"),
    "axes": (lambda: fitted_on([np.ones((3, 2, 2)), np.ones((4, 2, 2))]), r"X\[0\] must be a series \(T, D\)"),
    "empty": (lambda: fitted_on([np.ones((3, 2)), np.ones((0, 2))]), r"X\[1\] must be a series"),
    "words": (lambda: fitted_on([np.array(["a", "b"]), np.array(["c"])]), r"X\[0\] must hold numbers"),
    "one": (lambda: fitted_on([np.ones((3, 2))]), "at least 2 series"),
    "none": (lambda: fitted_on([]), "at least one series"),
    "no rows": (lambda: fitted_on(None), "list of series, got NoneType"),
    "one text": (lambda: Autoencoder(random_state=0).fit(["a"]), "at least 2 texts"),
    "no text": (lambda: Autoencoder(max_epochs=1).fit(TEXTS).transform(["a", 3]), r"X\[1\] must be a text"),
    "None in texts": (lambda: Autoencoder().fit(["a", None, "b"]), r"X\[1\] must be a text, got NoneType"),
    "a number in texts": (lambda: Autoencoder().fit(["a", 3, "b"]), r"X\[1\] must be a text, got int"),
    "bytes for texts": (lambda: Autoencoder().fit([b"a", b"b"]), r"X\[0\] must be a text, got bytes"),
    "NaN in texts": (
        lambda: Autoencoder().fit(pytest.importorskip("pandas").Series(["a", np.nan])),
        r"X\[1\] must be a text, got float: nan",
    ),
    "tokenizer": (lambda: Autoencoder(tokenizer="letters").fit(TEXTS), "tokenizer must be"),
    "other width": (lambda: fitted_on(waves()).transform([np.ones((3, 5))]), r"series of shape \(T, 2\)"),
    "lengths": (lambda: fitted_on(waves()).inverse_transform(np.ones((2, 4)), [3]), "lengths must be"),
    "length 0": (lambda: fitted_on(waves()).inverse_transform(np.ones((2, 4)), 0), "lengths must be from 1"),
    "length of tables": (
        lambda: Autoencoder(max_epochs=1).fit(np.eye(9)).inverse_transform(np.ones((2, 3)), 3),
        "lengths are for series and texts",
    ),
    "clean of another size": (
        lambda: DenoisingAutoencoder(**SMALL).fit(waves(), [row[:-1] for row in waves()]),
        "must have X's shape",
    ),
    "clean too few": (lambda: DenoisingAutoencoder(**SMALL).fit(waves(), waves()[:-1]), "one for each of the 40"),
    "patches": (lambda: DenoisingAutoencoder(**SMALL, patch_size=3).fit(waves()), "patch_size must be left out"),
    "codes": (lambda: fitted_on(waves()).inverse_transform(np.ones((2, 5))), "Z must be numbers of shape"),
    "a derivative by texts": (lambda: ContractiveAutoencoder(**SMALL).fit(TEXTS), "needs real inputs, and this x"),
    "a density of texts": (lambda: Autoencoder(**SMALL, loss="gaussian_nll").fit(TEXTS), "loss must be one of labels"),
    "texts as probabilities": (
        lambda: VariationalAutoencoder(**SMALL, callbacks=[Binarize()]).fit(TEXTS),
        "Binarize: rows must be probabilities from 0 to 1 .*, got texts",
    ),
    "series as probabilities": (
        lambda: VariationalAutoencoder(**SMALL, callbacks=[Binarize()]).fit(waves()),
        "Binarize: rows must be probabilities from 0 to 1 .*, got -",
    ),
    "conv on texts": (
        lambda: Autoencoder(encoder="conv").fit(TEXTS),
        "encoder must be 'rnn' or 'transformer' for texts",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    attempt, message = REFUSED[case]
    with pytest.raises((DataError, IsthmusError), match=message):
        attempt()


def test_chunks_hold_so_many_positions():
    lengths = torch.tensor([3] * 100 + [2**16] * 4 + [2**18])
    ends, start = [], 0
    while start < len(lengths):
        ends.append(_chunk_end(lengths, start, 2048))
        start = ends[-1]
    assert ends[-1] == len(lengths)
    assert ends[-2] == len(lengths) - 1  # one too long for any company
    assert ends == sorted(set(ends))


def test_texts_from_files_and_columns(tmp_path):
    pd = pytest.importorskip("pandas")
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    frame = pd.DataFrame({"id": range(len(TEXTS)), "said": TEXTS})
    frame.to_csv(tmp_path / "a.csv", index=False)
    column = type("Column", (list,), {"__module__": "datasets.arrow_dataset"})(TEXTS)  # as Hugging Face gives one
    given = [
        frame["said"],
        np.array(TEXTS),
        str(tmp_path / "a.txt"),
        tmp_path / "a.txt",
        f"{tmp_path}/a.csv:said",
        column,
    ]
    codes = [Autoencoder(**SMALL).fit(data).transform(data) for data in given]
    for other in codes[1:]:
        np.testing.assert_array_equal(codes[0], other)
    with pytest.raises(DataError, match="has no column 'text'; it has"):
        Autoencoder(**SMALL).fit(f"{tmp_path}/a.csv:text")


def test_texts_that_look_like_something_else(tmp_path):
    pytest.importorskip("pandas")
    texts = ["null", "", "NA", "7", "a\u2028b\x85c\x0cd", "e"]
    (tmp_path / "a.txt").write_bytes(("\ufeff" + "".join(f"{text}\r\n" for text in texts)).encode())
    (tmp_path / "a.csv").write_bytes(("id,said\n" + "".join(f"{i},{text}\n" for i, text in enumerate(texts))).encode())
    assert adapters.read(tmp_path / "a.txt") == texts
    assert adapters.read(f"{tmp_path}/a.csv:said").tolist() == texts
    assert adapters.read(f"{tmp_path}/a.csv:id").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_table_of_hugging_face_is_a_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=["a", "b", "c"])
    table = type("Dataset", (), {"__module__": "datasets.arrow_dataset", "to_pandas": lambda self: frame})()
    assert list(Autoencoder(max_epochs=1, random_state=0).fit(table).feature_names_in_) == ["a", "b", "c"]
