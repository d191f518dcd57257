"""Pictures of any size: patches, several sizes at once, tiles without seams, symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import isthmus
from isthmus import Autoencoder, ConvEncoder, DenoisingAutoencoder, GaussianNoise, UNetEncoder, VariationalAutoencoder
from isthmus.errors import DataError, ParameterError, ShapeError, UnsupportedError
from isthmus.estimators.tiling import symmetric_mean, tiled
from toys import randn

SMALL = UNetEncoder((4, 6), global_residual=True)


def pictures(n=12, shape=(20, 18), seed=0):
    """Smooth stripes as bytes."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(length) for length in shape], indexing="ij")
    waves = [np.sin(sum(rng.uniform(-0.5, 0.5) * axis for axis in axes)) for _ in range(n)]
    return (127 + 100 * np.stack(waves)).astype(np.uint8)


def denoiser(**params):
    chosen = {"encoder": SMALL, "corruption": GaussianNoise((0.02, 0.2)), "max_epochs": 2, "random_state": 0}
    return DenoisingAutoencoder(**chosen | params)


# ---------------------------------------------------------------------- "auto" and fixed sizes


@pytest.mark.parametrize("shape", [(13, 11), (3, 13, 11), (1, 6, 7, 5)], ids=str)
@pytest.mark.parametrize("cls", [Autoencoder, VariationalAutoencoder])
def test_auto_is_convolutional_for_pictures(cls, shape):
    X = np.random.default_rng(0).random((9, *shape))
    model = cls(latent_dim=3, max_epochs=1, random_state=0).fit(X)
    assert isinstance(model.module_.encoder, ConvEncoder)
    assert model.transform(X).shape == (9, 3)
    assert model.reconstruct(X).shape == model.inverse_transform(model.transform(X)).shape == X.shape
    if cls is VariationalAutoencoder:
        assert model.sample(2).shape == (2, *shape)


def test_one_line_makes_a_code_for_every_position():
    X = np.random.default_rng(0).random((9, 12, 12))
    model = VariationalAutoencoder(encoder=ConvEncoder((4, 6), pool=None), latent_dim=3, max_epochs=1).fit(X)
    assert model.transform(X).shape == (9, 3, 3, 3)
    assert model.sample(2).shape == (2, 12, 12)


def test_a_code_of_free_size_is_decoded():
    encoder = ConvEncoder((4, 6), pool=None)
    model = DenoisingAutoencoder(encoder=encoder, latent_dim=3, patch_size=8, max_epochs=1, random_state=0)
    X = pictures(6, (16, 12))
    codes = model.fit(X).transform(X)
    np.testing.assert_allclose(model.inverse_transform(codes), model.reconstruct(X), rtol=1e-5, atol=1e-3)
    with pytest.raises(DataError, match="Z must be numbers"):
        model.inverse_transform(codes[..., :2])


@pytest.mark.parametrize("shape", [(40,), (2, 40)], ids=str)
def test_signals_are_asked_for_by_dims(shape):
    X = np.random.default_rng(0).random((9, *shape))
    model = Autoencoder(encoder=ConvEncoder((4, 6), dims=1), latent_dim=3, max_epochs=1, random_state=0).fit(X)
    assert model.module_.space.shape == (40, 1 if len(shape) == 1 else 2)
    assert model.reconstruct(X).shape == X.shape


def test_channels_last_is_refused_with_the_line_that_mends_it():
    with pytest.raises(DataError, match=r"np\.moveaxis\(X, -1, 1\)"):
        Autoencoder().fit(np.zeros((4, 16, 16, 3)))


# ---------------------------------------------------------------------- denoising


def test_a_unet_by_name_learns_the_difference():
    model = DenoisingAutoencoder(encoder="unet", max_epochs=1, random_state=0).fit(pictures(4, (8, 8)))
    assert model.module_.encoder.global_residual
    assert type(model.module_.bottleneck).__name__ == "Identity"
    for method, argument in (("inverse_transform", model.transform(pictures(2, (8, 8)))), ("sample", 1)):
        with pytest.raises((UnsupportedError, DataError)):
            getattr(model, method)(argument)


def test_it_removes_noise_of_a_range_of_strengths():
    clean = pictures(256, (16, 16))
    encoder = UNetEncoder((8, 16), normalization=None, global_residual=True)
    model = denoiser(encoder=encoder, max_epochs=12, batch_size=8, augmentations=["flip"]).fit(clean)
    test = pictures(8, (31, 22), seed=1).astype(np.float32)
    for sigma, left in ((15, 0.7), (40, 0.5)):
        noisy = test + sigma * np.random.default_rng(2).normal(size=test.shape).astype(np.float32)
        assert np.square(model.reconstruct(noisy) - test).mean() < left * np.square(noisy - test).mean()


def test_patches_and_several_sizes():
    clean = [picture[: 9 + i, : 17 - i] for i, picture in enumerate(pictures(8))]
    noisy = [picture.astype(np.float32) + 5 for picture in clean]
    for model in (denoiser(patch_size=8).fit(clean), denoiser(patch_size=(8, 6)).fit(noisy, [c * 1.0 for c in clean])):
        found = model.reconstruct(noisy)
        assert [picture.shape for picture in found] == [picture.shape for picture in clean]
        alone = model.reconstruct(noisy[3][np.newaxis])[0]
        np.testing.assert_array_equal(found[3], alone)
        assert model.score_samples(noisy).shape == (8,)
        assert len(model.transform(noisy)) == 8


def test_padding_is_not_seen():
    """Nothing that a model makes of padding enters the loss."""
    small = pictures(1, (9, 7))
    model = denoiser(patch_size=8).fit(pictures(4))
    x = model.module_.scale(torch.from_numpy(small).unsqueeze(-1))[0]
    padded = torch.zeros(1, 16, 16, 1)
    padded[:, :9, :7] = x
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, :9, :7] = True
    batch = isthmus.Batch(padded, x_mask=mask)
    with torch.no_grad():
        loss = model.module_.loss
        trace = model.module_(batch, corrupt=False, scaled=True)
        assert torch.equal(trace.mask, mask)
        outside = trace.output.masked_fill(mask.unsqueeze(-1), 0)
        torch.testing.assert_close(
            loss(trace.output + 100 * outside.sign(), trace.target, mask), loss(trace.output, trace.target, mask)
        )


@pytest.mark.parametrize(("side", "rows", "tolerance"), [(64, 32, 0.0), (65, 1, 1e-5)])
def test_a_picture_alone_is_what_it_is_among_others(side, rows, tolerance, monkeypatch):
    """Bit for bit up to 64 x 64, where one is padded to 32; larger ones, which are not, but for rounding."""
    encoder = ConvEncoder((8, 16, 16), normalization="batch")
    X = np.random.default_rng(0).normal(size=(40, side, side)).astype(np.float32)
    model = VariationalAutoencoder(encoder=encoder, latent_dim=5, max_epochs=1, random_state=0).fit(X)
    together = model.transform(X), model.reconstruct(X), model.score_samples(X)
    seen, encode = [], model.module_.encode
    monkeypatch.setattr(model.module_, "encode", lambda batch, **how: seen.append(len(batch.x)) or encode(batch, **how))
    for i in (0, 39):
        alone = X[i : i + 1]
        for one, found in zip(
            (model.transform(alone), model.reconstruct(alone), model.score_samples(alone)), together, strict=True
        ):
            np.testing.assert_allclose(one[0], found[i], rtol=tolerance, atol=tolerance)
    assert set(seen) == {rows}


def test_the_same_seed_gives_the_same_weights():
    first, second = (denoiser(patch_size=8, augmentations=["flip"]).fit(pictures()) for _ in range(2))
    for name, value in first.module_.state_dict().items():
        assert torch.equal(value, second.module_.state_dict()[name]), name


def test_save_and_load_keep_the_free_size(tmp_path):
    model = denoiser(patch_size=8, augmentations=["flip", "quarter_turn"], tile_size=16).fit(pictures())
    model.save(tmp_path / "model")
    loaded = isthmus.load(tmp_path / "model")
    X = pictures(2, (23, 41), seed=3)
    np.testing.assert_array_equal(loaded.reconstruct(X), model.reconstruct(X))
    assert loaded.get_params()["augmentations"] == ["flip", "quarter_turn"]


# ---------------------------------------------------------------------- tiles and symmetries


@pytest.mark.parametrize("shape", [(50,), (23, 50), (9, 14, 11)], ids=str)
def test_tiles_of_a_pointwise_map_give_the_map(shape):
    x = randn(2, *shape, 3)
    calls = []

    def predict(part):
        calls.append(part.shape[1:-1])
        return part[..., :2] ** 2

    dims = len(shape)
    torch.testing.assert_close(tiled(predict, x, [8] * dims, [3] * dims), x[..., :2] ** 2)
    assert all(max(call) <= 8 for call in calls)


def test_no_seam_is_seen():
    """A blur whose reach is less than the overlap's dark rim differs little between tiles and the whole."""
    x = randn(1, 200, 200, 1)
    kernel = torch.ones(1, 1, 5, 5, dtype=x.dtype) / 25

    def blur(part):
        return torch.nn.functional.conv2d(part.movedim(-1, 1), kernel, padding=2).movedim(1, -1)

    whole, parts = blur(x), tiled(blur, x, [64, 64], [16, 16])
    assert (whole - parts).abs().max() < 0.1 * whole.abs().max()
    hard = torch.cat([blur(x[:, start : start + 50]) for start in range(0, 200, 50)], 1)
    assert (whole - parts).square().mean() < 0.02 * (whole - hard).square().mean()


@pytest.mark.parametrize("shape", [(12,), (7, 10), (4, 7, 10)], ids=str)
def test_symmetries_of_a_pointwise_map_change_nothing(shape):
    x = randn(2, *shape, 3)
    torch.testing.assert_close(symmetric_mean(lambda part: part**3, x), x**3)


def test_the_symmetric_mean_is_symmetric():
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(1, 1, 3, padding=1).double()

    def predict(part):
        return layer(part.movedim(-1, 1)).movedim(1, -1)

    x = randn(1, 9, 9, 1)
    with torch.no_grad():
        mean = symmetric_mean(predict, x)
        turned = symmetric_mean(predict, x.rot90(1, (1, 2)))
    torch.testing.assert_close(turned, mean.rot90(1, (1, 2)))


def test_large_pictures_are_tiled_by_the_estimator(monkeypatch):
    model = denoiser(patch_size=8).fit(pictures())
    X = pictures(1, (70, 50), seed=4)
    whole = model.reconstruct(X)
    seen = []
    forward = model.module_.forward
    monkeypatch.setattr(
        model.module_, "forward", lambda rows, *a, **k: seen.append(rows.x.shape) or forward(rows, *a, **k)
    )
    tiles = model.set_params(tile_size=32).reconstruct(X)
    assert {tuple(shape[1:3]) for shape in seen} == {(32, 32)}
    assert np.abs(whole - tiles).mean() < 0.5
    turned = model.set_params(test_time_augmentation=True).reconstruct(X)
    assert turned.shape == X.shape


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("params", "X", "error", "message"),
    [
        ({"patch_size": 0}, pictures(), ParameterError, "patch_size must be"),
        ({"patch_size": (8, 8, 8)}, pictures(), ParameterError, "size must have 2 lengths"),
        ({"augmentations": ["mirror"]}, pictures(), ParameterError, "augmentations must be one of"),
        ({"augmentations": "flip"}, pictures(), ParameterError, "augmentations must be a list"),
        ({"tile_size": 2}, pictures(), ParameterError, "tile_size must be"),
        ({"test_time_augmentation": 1}, pictures(), ParameterError, "test_time_augmentation must be"),
        ({"encoder": "mlp", "patch_size": 8}, np.zeros((60, 4)), ParameterError, "patch_size must be left out"),
        ({"corruption": GaussianNoise((0.2, 0.1))}, pictures(), ParameterError, "low <= high"),
        ({}, [np.zeros((8, 8)), np.zeros((3, 8, 8))], DataError, r"X\[1\] must have as many channels|X\[1\] must be"),
    ],
    ids=str,
)
def test_refused_before_training(params, X, error, message):
    with pytest.raises(error, match=message):
        denoiser(**params).fit(X)


def test_another_number_of_channels_is_refused():
    model = denoiser().fit(pictures())
    with pytest.raises(DataError, match="X must hold samples of shape"):
        model.reconstruct(np.zeros((2, 3, 20, 18), np.uint8))


def test_a_flat_code_needs_one_size():
    with pytest.raises(ShapeError, match="pool"):
        denoiser(encoder=ConvEncoder((4,)), patch_size=8).fit(pictures())
