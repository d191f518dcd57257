"""A network that gives maps, as an encoder: sizes, what it reads, its weights, freezing, saving, refusals."""

from __future__ import annotations

import copy
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import isthmus
from isthmus import BackboneEncoder, DenoisingAutoencoder, Segmenter, UNetDecoder
from isthmus.bottlenecks import Identity
from isthmus.errors import FileError, ParameterError, ShapeError
from isthmus.losses import SquaredError
from isthmus.model import EncoderDecoder
from isthmus.nn.resnet import RESNETS, ResNet
from isthmus.types import Batch, Bypass, Seen, Space
from toys import assert_replay_has_eager_bits, randn, train_step


class Residual(nn.Module):
    """A convolution, and another round which the map goes; its first convolution has the stride."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        self.down = nn.Conv2d(width_in, width, 3, stride, 1)
        self.norm = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x):
        x = self.norm(self.down(x)).relu()
        return x + self.conv(x)


class Network(nn.Module):
    """A stage for each stride; the maps are 4, 5, 6, … channels wide."""

    def __init__(self, strides=(2, 4, 8), channels=3):
        super().__init__()
        steps = [now // before for before, now in zip((1, *strides[:-1]), strides, strict=True)]
        widths = [channels, *range(4, 4 + len(strides))]
        pairs = zip(widths[:-1], widths[1:], steps, strict=True)
        self.stages = nn.Sequential(*[Residual(*pair) for pair in pairs])

    def forward(self, x):
        self.read = x.detach()
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class OwnEncoder(BackboneEncoder):
    """A network of one's own that a saved model can name."""

    def __init__(self, depth=2, frozen=False):
        super().__init__(frozen=frozen, stem=3)
        self.depth = depth

    def new_network(self):
        return Network([2 ** (level + 1) for level in range(self.depth)])


def line(encoder, space):
    return EncoderDecoder(encoder, Identity(), UNetDecoder.mirror(encoder), SquaredError()).build(space)


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# ---------------------------------------------------------------------- maps and sizes


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    strides=st.sampled_from([(1, 2), (2, 4, 8, 16, 32), (4, 8, 16, 32), (8, 16), (4,), (2,)]),
)
def test_any_size_comes_back(height, width, channels, strides):
    x = torch.zeros(2, height, width, channels)
    for space in (Space(x.shape[1:]), Space((None, None, channels))):
        assert line(BackboneEncoder(Network(strides), stem=3), space)(Batch(x)).output.shape == x.shape


def test_the_stem_has_the_levels_that_the_network_lacks():
    encoder = BackboneEncoder(Network((4, 8)), stem=7).build(Space((9, 13, 3), condition=2))
    skips = Space((9, 13, 7)), Space((5, 7, 7)), Space((3, 4, 4))
    assert encoder.out == Space((2, 2, 5), skips=skips, condition=2)
    assert len(BackboneEncoder(Network((1, 2))).build(Space((9, 13, 3))).levels) == 0
    mask = torch.ones(1, 9, 13, dtype=torch.bool)
    mask[:, :, 8:] = False
    features = encoder(Seen(torch.zeros(1, 9, 13, 3), Bypass(mask=mask)))
    assert [tuple(skip.shape[1:]) for skip in features.bypass.skips] == [skip.shape for skip in skips]
    assert features.bypass.mask.tolist() == [[[True, False]] * 2]


def test_a_decoder_takes_the_widths_of_the_skips():
    encoder = BackboneEncoder(Network((2, 4)), stem=7).build(Space((8, 8, 3)))
    decoder = UNetDecoder.mirror(encoder).build(encoder.out, Space((8, 8, 1)))
    assert decoder.channels is None
    assert [level.blocks[-1].convolution.out_channels for level in decoder.levels] == [4, 7]


def test_what_the_network_reads():
    encoder = BackboneEncoder(Network((2, 4)), mean=(0.5, 0.25, 0), std=(0.5, 0.25, 1)).build(Space((None, None, 3)))
    encoder(Seen(torch.ones(2, 5, 6, 3)))
    read = encoder.backbone.read
    assert read.is_contiguous(memory_format=torch.channels_last)
    assert read.shape == (2, 3, 8, 8)  # whole multiples of 4
    for channel, value in enumerate([(1 - 0.5) / 0.5, (1 - 0.25) / 0.25, 1]):
        assert (read[:, channel, :5, :6] == value).all()
    assert not read[:, :, 5:].any()
    assert not read[:, :, :, 6:].any()


def test_a_grey_picture_is_read_as_a_grey_one_in_colour():
    grey = randn(2, 8, 8, 1).float()
    encoder = BackboneEncoder(Network()).build(Space((8, 8, 1))).eval()
    encoder(Seen(grey))
    read = encoder.backbone.read
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (encoder.mean, encoder.std))
    torch.testing.assert_close(read, (grey.movedim(-1, 1).expand(-1, 3, -1, -1) - mean) / std)
    plain = BackboneEncoder(Network(channels=1), mean=None, std=None).build(Space((8, 8, 1)))
    plain(Seen(grey))
    assert torch.equal(plain.backbone.read, grey.movedim(-1, 1))


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_689_512), ("resnet34", 21_797_672)])
def test_the_residual_networks_are_those_of_the_paper(name, parameters):
    network = ResNet(RESNETS[name])
    assert sum(value.numel() for value in network.parameters()) == parameters - 1000 * (512 + 1)  # no classifier
    names = {"conv1.weight", "bn1.running_var", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight"}
    assert names | {"layer4.0.downsample.1.bias", "layer4.1.bn2.weight"} <= set(network.state_dict())
    shapes = [tuple(found.shape[1:]) for found in network(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(64, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("shape", [(12, 13, 11), (12, 3, 7, 31)], ids=str)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("compile", [False, "replay"])
def test_estimators_train_it(shape, frozen, compile):
    X = pictures(*shape)
    encoder = BackboneEncoder(Network((4, 8, 16)), frozen=frozen, stem=3)
    settings = {"encoder": encoder, "max_epochs": 1, "batch_size": 4, "compile": compile, "random_state": 0}
    before = copy.deepcopy(encoder.network.state_dict())
    segmenter = Segmenter(**settings).fit(X, X.reshape(12, -1, *shape[-2:])[:, 0] > 100)
    assert segmenter.predict(X).shape == (12, *shape[-2:])
    denoiser = DenoisingAutoencoder(**settings).fit(X)
    assert isinstance(denoiser.module_.bottleneck, Identity)
    assert denoiser.reconstruct(X).shape == X.shape
    for model in (segmenter, denoiser):
        after = model.module_.encoder.backbone.state_dict()
        moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
        assert moved == (set() if frozen else set(before))
    assert all(torch.equal(value, before[name]) for name, value in encoder.network.state_dict().items())  # a copy moved


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_network_alone_has_no_gradients(frozen):
    step = train_step(line(OwnEncoder(frozen=frozen), Space((8, 8, 3))))
    parameters = {name: value for name, value in step.named_parameters() if value.requires_grad}
    total, _ = step(Batch(randn(4, 8, 8, 3).float()))
    gradients = torch.autograd.grad(total, list(parameters.values()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    assert frozen != any(".backbone." in name for name in parameters)
    assert any(".encoder.levels." in name for name in parameters)
    assert step.model.encoder.backbone.training != frozen


@pytest.mark.parametrize("frozen", [False, True])
def test_replayed_step_has_the_bits_of_eager(frozen):
    def make():
        torch.manual_seed(0)
        step = train_step(line(OwnEncoder(3, frozen), Space((None, None, 3))))
        return step, [Batch(randn(4, 7, 10, 3, seed=i).float()) for i in range(4)]

    assert_replay_has_eager_bits(make)


def test_the_argument_is_no_submodule():
    encoder = BackboneEncoder(Network())
    assert not [*encoder.parameters()]
    assert encoder.set_params(network=Network((2,))).build(Space((8, 8, 3))).out.shape == (4, 4, 4)
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"backbone", "levels"}


# ---------------------------------------------------------------------- weights


@pytest.fixture
def published():
    """Weights as they are published: with a classifier, and in timm's case with a dot where its maps have none."""
    torch.manual_seed(1)
    return {**Network((2, 4)).state_dict(), "fc.weight": torch.zeros(10, 5), "fc.bias": torch.zeros(10)}


def assert_loaded(encoder, published):
    held = encoder.backbone.state_dict()
    assert len(held) == len(published) - 2
    for name, value in held.items():
        assert torch.equal(value, published[name.replace("stages_", "stages.")])


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_from_a_file(published, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    safetensors.torch.save_file(published, path) if suffix == ".safetensors" else torch.save(published, path)
    for source in (path, str(path)):
        assert_loaded(BackboneEncoder(Network((2, 4)), source).build(Space((8, 8, 3))), published)


def test_weights_of_older_files_count_no_batches(published, tmp_path):
    old = {name: value for name, value in published.items() if "num_batches_tracked" not in name}
    torch.save(old, tmp_path / "old.pth")
    assert_loaded(BackboneEncoder(Network((2, 4)), tmp_path / "old.pth").build(Space((8, 8, 3))), published)


def test_weights_from_the_hub(published, tmp_path, monkeypatch):
    safetensors.torch.save_file(published, tmp_path / "model.safetensors")
    asked = []

    def hf_hub_download(repo_id, filename, revision=None):
        asked.append((repo_id, filename, revision))
        if repo_id == "someone/nothing":
            raise OSError("404: no such repository")
        return str(tmp_path / filename)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    for source in ("hub:someone/network", "hub:someone/network@v1"):
        assert_loaded(BackboneEncoder(Network((2, 4)), source).build(Space((8, 8, 3))), published)
    assert asked == [("someone/network", "model.safetensors", revision) for revision in (None, "v1")]
    with pytest.raises(FileError, match=r"cannot fetch model\.safetensors of hub:someone/nothing: 404"):
        BackboneEncoder(Network((2, 4)), "hub:someone/nothing").build(Space((8, 8, 3)))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileError, match="needs huggingface_hub: pip install"):
        BackboneEncoder(Network((2, 4)), "hub:someone/network").build(Space((8, 8, 3)))


class Attack:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_wrong_weights_are_named(published, tmp_path):
    def load(content, name="weights.pt"):
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        BackboneEncoder(Network((2, 4)), path).build(Space((8, 8, 3)))

    less = {name: value for name, value in published.items() if name != "stages.1.conv.bias"}
    with pytest.raises(FileError, match=r"weights.pt must hold 'stages.1.conv.bias' of shape \(5,\), got none"):
        load(less)
    with pytest.raises(FileError, match=r"'stages.1.conv.bias' of shape \(5,\), got one of shape \(6,\)"):
        load({**less, "stages.1.conv.bias": torch.zeros(6)})
    with pytest.raises(FileError, match=r"must hold tensors by name \(a state_dict\), got \['epoch', 'model'\]"):
        load({"model": published, "epoch": 3})
    with pytest.raises(FileError, match="weights: cannot read"):
        load({"stages.0.conv.bias": Attack(tmp_path / "made")})
    assert not (tmp_path / "made").exists()
    for name in ("broken.pt", "broken.safetensors"):
        with pytest.raises(FileError, match=rf"weights: cannot read .*{name}"):
            load(b"no weights", name)
    with pytest.raises(FileError, match=r"weights: cannot read nowhere\.pt"):
        BackboneEncoder(Network(), "nowhere.pt").build(Space((8, 8, 3)))


# ---------------------------------------------------------------------- timm


class Flattened(nn.ModuleDict):
    """What timm's ``features_only`` gives: the stages beside one another under names with an underscore."""

    def __init__(self):
        super().__init__({f"stages_{i}": stage for i, stage in enumerate(Network((2, 4)).stages)})
        self.feature_info = SimpleNamespace(channels=lambda: [4, 5], reduction=lambda: [2, 4])

    def forward(self, x):
        maps = []
        for stage in self.values():
            x = stage(x)
            maps.append(x)
        return maps


@pytest.fixture
def timm(monkeypatch):
    """A stand-in for timm, and what it was asked for."""
    asked = []

    def create_model(model_name, pretrained=False, features_only=False):
        asked.append((model_name, pretrained, features_only))
        if model_name == "unknown":
            raise RuntimeError(f"Unknown model ({model_name})")
        assert float(torch.linspace(0, 1, 3)[1]) == 0.5  # timm reads numbers while it builds
        return Flattened()

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model, asked=asked))
    return asked


def test_a_network_of_timm(timm, published, tmp_path):
    safetensors.torch.save_file(published, tmp_path / "weights.safetensors")
    encoder = BackboneEncoder("timm/some_net.a1_in1k", tmp_path / "weights.safetensors").build(Space((8, 8, 3)))
    assert_loaded(encoder, published)
    assert timm == [("some_net.a1_in1k", False, True)]
    info = encoder.backbone.feature_info
    assert encoder.strides[1:] == info.reduction()
    assert [space.shape[-1] for space in (*encoder.out.skips[1:], encoder.out)] == info.channels()
    with pytest.raises(ParameterError, match=r"network='timm/unknown': timm cannot make it: Unknown model"):
        BackboneEncoder("timm/unknown").build(Space((8, 8, 3)))


def test_timm_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ParameterError, match=r"network='timm/resnet50' needs timm and torchvision \(pip install timm\)"
    ):
        BackboneEncoder("timm/resnet50").build(Space((8, 8, 3)))


# ---------------------------------------------------------------------- saving


def fitted(encoder):
    X = pictures(6, 13, 11)
    return X, Segmenter(encoder=encoder, max_epochs=1, batch_size=3, random_state=0).fit(X, X > 100)


def test_a_named_network_is_loaded_without_its_first_weights(timm, published, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(published, path)
    X, model = fitted(BackboneEncoder("timm/some_net", path, frozen=True))
    model.save(tmp_path / "model")
    path.unlink()
    again = isthmus.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert_loaded(again.module_.encoder, published)
    assert not any(parameter.requires_grad for parameter in again.module_.encoder.backbone.parameters())
    assert again.encoder.weights == str(path)  # as given, for another `fit`
    assert again.module_.encoder.weights is None


def test_a_network_of_ones_own_is_loaded_by_its_part(tmp_path):
    X, model = fitted(OwnEncoder(3))
    model.save(tmp_path / "model")
    again = isthmus.load(tmp_path / "model", parts=[OwnEncoder])
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    with pytest.raises(FileError, match=r"'OwnEncoder', which is no part of isthmus; give it: load\(path, parts="):
        isthmus.load(tmp_path / "model")


def test_an_object_is_not_saved(tmp_path):
    X, model = fitted(BackboneEncoder(Network()))
    with pytest.raises(
        FileError, match="a Network is a network, not data, and cannot be saved: let a part of your own"
    ):
        model.save(tmp_path / "model")
    assert not [*tmp_path.iterdir()]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


# ---------------------------------------------------------------------- refusals


class Gives(nn.Module):
    """Whatever it is told to."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


@pytest.mark.parametrize("name", ["resnet19", "timm/../x", "timm/hf-hub:someone/net", "hf-hub:someone/net", "timm/", 3])
def test_refused_networks(name):
    with pytest.raises(ParameterError, match="BackboneEncoder: network must be one of 'resnet18'"):
        BackboneEncoder(name).build(Space((8, 8, 3)))


@pytest.mark.parametrize(
    ("encoder", "space", "error", "message"),
    [
        (BackboneEncoder(mean=None), (8, 8, 3), ParameterError, "mean and std must be equally long or both None"),
        (BackboneEncoder(std=(1, 0, 1)), (8, 8, 3), ParameterError, "std must be None or"),
        (BackboneEncoder(frozen="norm"), (8, 8, 3), ParameterError, "frozen must be True or False"),
        (BackboneEncoder(weights=3), (8, 8, 3), ParameterError, "weights must be None or a path"),
        (BackboneEncoder(), (8, 8, 2), ShapeError, "reads 1 or 3 channels, as many as mean has numbers, got 2"),
        (BackboneEncoder(), (8, 3), ShapeError, "backbone encoder needs 2 axes of positions"),
        (BackboneEncoder(), Space((8, 8, 3), classes=4), ShapeError, "needs real inputs"),
        (BackboneEncoder(Network(channels=2)), (8, 8, 3), ShapeError, "Network cannot read a picture of 3 x 64 x 64"),
        (BackboneEncoder(Network((2, 8))), (8, 8, 3), ShapeError, r"strides double, .* got \[\[2, 2\], \[8, 8\]\]"),
        (BackboneEncoder(Gives(lambda x: x)), (8, 8, 3), ShapeError, "must give a list of maps .* got Tensor"),
        (BackboneEncoder(Gives(lambda x: [])), (8, 8, 3), ShapeError, r"strides double, .* got \[\]"),
        (BackboneEncoder(Gives(lambda x: [x.mean(-1)])), (8, 8, 3), ShapeError, "must give a list of maps"),
        (BackboneEncoder(Gives(lambda x: [x[..., ::2]])), (8, 8, 3), ShapeError, r"got \[\[1, 2\]\]"),
    ],
    ids=str,
)
def test_refusals(encoder, space, error, message):
    with pytest.raises(error, match=message):
        encoder.build(space)
