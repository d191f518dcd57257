"""Training on a stream: every row once a pass, memory bounded by the window, resumed to the same bits."""

import numpy as np
import pytest
import torch

from isthmus import LBFGS, Autoencoder, Callback, DenoisingAutoencoder, MLPEncoder, SearchCV, Segmenter, Stream
from isthmus.errors import DataError, UnsupportedError
from isthmus.estimators import streaming
from isthmus.training.streamed import BlockSampler, Streamed
from isthmus.types import Batch

draw = np.random.default_rng(0)
X = (draw.normal(size=(2000, 2)) @ draw.normal(size=(2, 6)) + 0.1 * draw.normal(size=(2000, 6))).astype(np.float32)


def model(**more):
    return Autoencoder(encoder=MLPEncoder((8,)), latent_dim=2, batch_size=32, max_epochs=4, random_state=0, **more)


def stream(**more):
    return Stream(X, **{"block": 100, "window": 300} | more)


def source(n=100, block=10, window=3, batch_size=7, seed=0):
    starts = torch.arange(0, n, block)
    blocks = torch.stack([starts, starts + block], 1)
    rows = torch.arange(float(n)).unsqueeze(1)
    return Streamed(lambda a, b: rows[a:b].clone(), Batch(rows[:5]), BlockSampler(blocks, window, batch_size, seed))


def drawn(one, n):
    return torch.cat([one.next().x[:, 0].clone() for _ in range(n)])


def test_each_pass_has_every_row_once_and_is_mixed():
    rows = drawn(source(n=105, block=15, batch_size=7), 45)  # three passes of fifteen batches
    for start in range(0, 315, 105):
        assert sorted(rows[start : start + 105].tolist()) == list(range(105))
    assert (rows[:105].diff().abs() > 1).float().mean() > 0.8
    assert not torch.equal(rows[:105], rows[105:210])


def test_a_stream_goes_on_where_it_stood_while_the_next_window_is_read():
    for stood in (1, 5, 14, 23):
        first, again = source(), source()
        drawn(first, stood)
        again.sampler.load_state_dict(first.sampler.state_dict())
        assert torch.equal(drawn(first, 30), drawn(again, 30))


def test_it_learns_what_rows_in_memory_teach():
    found, resident = model().fit(stream()), model().fit(X)
    errors = [np.square(one.reconstruct(X) - X).mean() for one in (found, resident)]
    assert errors[0] < 1.2 * errors[1] < 0.3 * X.var()
    assert {"val_objective", "objective"} <= set(found.history_[-1])


def test_the_same_seed_gives_the_same_weights_and_a_stop_loses_nothing(tmp_path):
    class Crash(Callback):
        def on_epoch_end(self, loop):
            if loop.state.epoch == 2:
                raise RuntimeError("crash")

    whole = model().fit(stream())
    with pytest.raises(RuntimeError, match="crash"):
        model(checkpoint_dir=tmp_path, checkpoint_every=7, callbacks=[Crash()]).fit(stream())
    resumed = model(checkpoint_dir=tmp_path).fit(stream(), resume=True)
    pairs = zip(whole.module_.state_dict().values(), resumed.module_.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_images_and_a_large_file_are_streamed(tmp_path, monkeypatch):
    images = draw.integers(0, 256, (90, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    monkeypatch.setattr(streaming, "LARGE", 1000)
    streams = []
    monkeypatch.setattr(streaming, "Stream", lambda given: streams.append(given) or Stream(given, block=16, window=32))
    one = Autoencoder(max_epochs=1, batch_size=16, random_state=0).fit(tmp_path / "images.npy")
    assert len(streams) == 1
    assert one.reconstruct(images).shape == images.shape


def test_a_large_file_that_a_stream_would_not_serve_is_read_as_before(monkeypatch, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    monkeypatch.setattr(streaming, "LARGE", 1000)
    weighted = model().fit(tmp_path / "rows.npy", sample_weight=np.full(2000, 0.5))
    series = Autoencoder(encoder="rnn", max_epochs=1, random_state=0).fit(
        np.load(tmp_path / "rows.npy").reshape(200, 10, 6)
    )
    assert len(weighted.history_) == 4
    assert len(series.history_) == 1


def test_bad_rows_in_the_middle_are_named_with_their_place():
    spoilt = X.copy()
    spoilt[1234, 3] = np.nan
    rows = Stream(spoilt, block=100, window=300)
    rows.sample = lambda size: X[:500]
    with pytest.raises(DataError, match=r"X\[1200:1300\] must be finite, got NaN or infinity"):
        model(validation_fraction=0.0).fit(rows)


REFUSED = {
    "weights": (lambda: model().fit(stream(), sample_weight=np.ones(2000)), DataError, "sample_weight must be None"),
    "targets": (lambda: DenoisingAutoencoder().fit(stream(), X), DataError, "y must be None where X is a Stream"),
    "l-bfgs": (lambda: model(optimizer=LBFGS()).fit(stream()), UnsupportedError, "LBFGS needs all rows at once"),
    "patches": (lambda: DenoisingAutoencoder(patch_size=4).fit(stream()), UnsupportedError, "patch_size needs rows"),
    "series": (
        lambda: Autoencoder(encoder="rnn").fit(Stream(X.reshape(200, 10, 6))),
        UnsupportedError,
        "series need rows",
    ),
    "clean rows": (
        lambda: DenoisingAutoencoder().fit(X, stream()),
        DataError,
        "y must be rows in memory here, got Str",
    ),
    "held out": (lambda: model().fit(X, validation_data=stream()), DataError, "X must be rows in memory here"),
    "more of them": (lambda: model().fit(X).partial_fit(stream()), DataError, "X must be rows in memory"),
    "a report": (lambda: model().fit(X).report(stream()), DataError, "X must be rows in memory here"),
    "a search": (lambda: SearchCV(model(), {"latent_dim": [2]}).fit(stream()), DataError, "X must be rows in memory"),
    "masks": (lambda: Segmenter().fit(stream()), (DataError, UnsupportedError), "y must be the masks|needs rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_stream_cannot_be_is_named(case):
    call, error, said = REFUSED[case]
    with pytest.raises(error, match=said):
        call()
