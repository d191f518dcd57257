"""Saving and loading: the same model bit for bit, and every bad folder refused by name."""

import copy
import json
import logging
import os
import pickle
import resource
import shutil
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

import isthmus
import isthmus.estimators
from isthmus.errors import FileError, IsthmusError, ParameterError
from isthmus.part import Encoder
from isthmus.persistence import describe
from isthmus.persistence.data import decode, encode
from isthmus.persistence.folder import MAX_DEPTH
from isthmus.spec import from_spec, to_spec
from isthmus.types import Batch, Features, Space

METHODS = ["transform", "reconstruct", "score_samples", "predict", "decision_function", "explain", "elbo"]
FILES = ["history.json", "learnt.json", "model.safetensors", "spec.json"]


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).normal(size=(96, 6)).astype(np.float32)


def fit(cls, table, **params):
    if cls is isthmus.AnomalyDetector:
        params = {"estimator": isthmus.VariationalAutoencoder(max_epochs=2), **params}
    else:
        params = {"max_epochs": 2, **params}
    return cls(**{"random_state": 0, **params}).fit(table)


TABLES = [
    name for name in isthmus.estimators.__all__ if name not in ("Segmenter", "Seq2Seq")
]  # those: tests/estimators


@pytest.fixture(scope="module", params=TABLES)
def each(request, table):
    """Each of the estimators, fitted once."""
    return fit(getattr(isthmus.estimators, request.param), table)


@pytest.fixture(scope="module")
def model(table):
    return fit(isthmus.VariationalAutoencoder, table, latent_dim=2)


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def plain(params):
    """Parameters as data; those of an estimator among them are listed by their own names."""
    return {name: to_spec(value) for name, value in params.items() if not hasattr(value, "fit")}


def assert_same(first, second, table):
    for method in METHODS:
        if hasattr(first, method) and (method != "elbo" or isinstance(first, isthmus.VariationalAutoencoder)):
            np.testing.assert_array_equal(getattr(first, method)(table), getattr(second, method)(table), method)
    if isinstance(first, isthmus.VariationalAutoencoder):
        np.testing.assert_array_equal(first.sample(5), second.sample(5))
    assert plain(first.get_params()) == plain(second.get_params())
    assert set(vars(first)) == set(vars(second))


# ---------------------------------------------------------------------- the same model


@pytest.mark.parametrize("road", ["folder", "pickle", "joblib", "deepcopy"])
def test_every_estimator_comes_back_bit_for_bit(each, road, table, tmp_path):
    first = each
    if road == "folder":
        first.save(tmp_path / "model")
        assert sorted(os.listdir(tmp_path / "model")) == FILES
        assert os.listdir(tmp_path) == ["model"]
        second = isthmus.load(tmp_path / "model")
    elif road == "pickle":
        second = pickle.loads(pickle.dumps(first))
    elif road == "joblib":
        joblib.dump(first, tmp_path / "model.joblib")
        second = joblib.load(tmp_path / "model.joblib")
    else:
        second = copy.deepcopy(first)
    assert_same(first, second, table)


@pytest.mark.parametrize(
    "params",
    [
        {"encoder": isthmus.MLPEncoder((8, 4), activation="tanh", normalization="batch", residual=True)},
        {"encoder": "mlp", "decoder": isthmus.MLPDecoder([5]), "optimizer": isthmus.SGD(momentum=0.5)},
        {"penalties": [isthmus.L2Weights(1e-3), "l1_activity"], "schedule": isthmus.Cosine(warmup=0.1)},
        {"precision": "64-true", "loss": isthmus.SquaredError("sigmoid"), "scale": "min_max"},
        {"corruption": isthmus.Masking(0.3), "latent_dim": np.int64(3), "learning_rate": np.float64(1e-2)},
        {"bottleneck": "identity", "scale": None, "random_state": None},
    ],
    ids=lambda params: next(iter(params)),
)
def test_parameters_and_parts_come_back(params, table, tmp_path):
    first = fit(isthmus.Autoencoder, table, **params)
    first.save(tmp_path / "model")
    assert_same(first, isthmus.load(tmp_path / "model"), table)


@pytest.mark.parametrize("trim", [0.0, 0.2])
def test_the_objective_comes_back_as_it_was_fitted(trim, table, tmp_path):
    first = fit(isthmus.VariationalAutoencoder, table, beta=2.0, trim=trim, penalties=[isthmus.L1Weights(1e-3, True)])
    first.set_params(beta=3.0, trim=0.5).save(tmp_path / "model")
    second = isthmus.load(tmp_path / "model").objective_
    assert to_spec(second) == to_spec(first.objective_)
    assert [penalty.weight for penalty in second.penalties] == [2.0, 1e-3]
    rows = torch.from_numpy(table)
    values = []
    for objective in (first.objective_, second):
        trace = first.module_(Batch(rows), noise=torch.zeros_like)
        values.append(float(objective.eval()(trace, first.module_)[1]["objective"]))
    assert values[0] == values[1]


def test_images_pairs_and_frames_come_back(table, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(60, 1, 4, 5), dtype=np.uint8)
    first = fit(isthmus.Autoencoder, images)
    first.save(tmp_path / "images")
    assert isthmus.load(tmp_path / "images").reconstruct(images).shape == images.shape
    assert_same(first, isthmus.load(tmp_path / "images"), images)

    pairs = isthmus.DenoisingAutoencoder(max_epochs=2, random_state=0).fit(table + 1, table)
    pairs.save(tmp_path / "pairs")
    assert isthmus.load(tmp_path / "pairs").module_.corruption is None

    frame = pd.DataFrame(table, columns=list("abcdef"))
    framed = fit(isthmus.Autoencoder, frame).set_output(transform="pandas")
    framed.save(tmp_path / "framed")
    back = isthmus.load(tmp_path / "framed")
    assert list(back.reconstruct(frame).columns) == list("abcdef")
    pd.testing.assert_frame_equal(back.transform(frame), framed.transform(frame))
    with pytest.raises(ValueError, match="feature names"):
        back.transform(frame.rename(columns={"a": "z"}))


def test_a_detector_of_several_members_comes_back(table, tmp_path):
    inner = isthmus.Autoencoder(max_epochs=2, encoder=isthmus.MLPEncoder((4,)))
    first = isthmus.AnomalyDetector(inner, contamination=0.1, random_state=1).fit(table)
    first.members_.append(fit(isthmus.Autoencoder, table, latent_dim=3))
    first.save(tmp_path / "model")
    back = isthmus.load(tmp_path / "model")
    assert back.offset_ == first.offset_
    assert back.estimator.encoder.hidden_dims == (4,)
    assert [member.latent_dim for member in back.members_] == ["auto", 3]
    assert_same(first, back, table)


def test_a_loaded_model_trains_on(model, folder, table):
    back = isthmus.load(folder).partial_fit(table)
    assert len(back.history_) == len(model.history_) + 1
    assert np.isfinite(back.score(table))


def test_callbacks_and_random_state_objects_are_left_out_and_named(table, tmp_path, caplog):
    given = {"callbacks": [isthmus.WeightAverage()], "random_state": np.random.RandomState(0)}
    first = fit(isthmus.Autoencoder, table, **given)
    with caplog.at_level(logging.INFO, logger="isthmus"):
        first.save(tmp_path / "model")
    back = isthmus.load(tmp_path / "model")
    assert (back.callbacks, back.random_state) == ((), None)
    assert "WeightAverage" in caplog.text
    assert "random_state" in caplog.text


def test_the_folder_is_plain_data(model, folder):
    spec = json.loads((folder / "spec.json").read_text())
    assert (spec["format_version"], spec["estimator"]) == (1, "VariationalAutoencoder")
    assert spec["input"] == {"sample_shape": [6], "n_features_in": 6, "feature_names_in": None}
    assert {"isthmus", "python", "torch"} <= set(spec["versions"])
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    model.module_.load_state_dict(weights)
    assert describe(folder).history == model.history_


# ---------------------------------------------------------------------- parts of one's own


class Doubled(Encoder):
    """h = 2 x."""

    def forward(self, seen):
        return Features(2 * seen.x)


class Restless(Encoder):
    """Its shapes depend on how often it was built."""

    builds = 0

    def build(self, space):
        super().build(space)
        Restless.builds += 1
        self.map = torch.nn.Linear(space.size, Restless.builds)
        self.out = Space((Restless.builds,))
        return self

    def forward(self, seen):
        return Features(self.map(seen.x))


def test_own_parts_are_found_by_name_and_may_not_shadow(table, tmp_path):
    first = fit(isthmus.Autoencoder, table, encoder=Doubled(), decoder="mlp")
    first.save(tmp_path / "model")
    assert_same(first, isthmus.load(tmp_path / "model", parts=[Doubled]), table)
    with pytest.raises(FileError, match=r"'Doubled', which is no part of isthmus; give it: load\(path, parts="):
        isthmus.load(tmp_path / "model")
    impostor = type("MLPDecoder", (isthmus.MLPDecoder,), {})
    with pytest.raises(ParameterError, match="parts: MLPDecoder would shadow"):
        isthmus.load(tmp_path / "model", parts=[Doubled, impostor])
    with pytest.raises(ParameterError, match="parts must hold classes"):
        isthmus.load(tmp_path / "model", parts=[Doubled()])


def test_what_could_not_be_loaded_is_not_saved(table, tmp_path):
    restless = fit(isthmus.Autoencoder, table, encoder=Restless(), decoder="mlp")
    with pytest.raises(FileError, match="must be"):
        restless.save(tmp_path / "model")
    lively = fit(isthmus.Autoencoder, table)
    lively.monitor = lambda: None
    with pytest.raises(FileError, match="function"):
        lively.save(tmp_path / "model")
    with pytest.raises(IsthmusError, match="not fitted yet"):
        isthmus.Autoencoder().save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------- bad paths


def contents(path):
    return {entry: entry.read_bytes() if entry.is_file() else None for entry in sorted(path.rglob("*"))}


def test_an_existing_path_is_refused_and_overwritten_on_request(model, folder, table, tmp_path):
    before = contents(tmp_path)
    other = fit(isthmus.Autoencoder, table)
    with pytest.raises(FileError, match="exists"):
        other.save(folder)
    assert contents(tmp_path) == before
    other.save(folder, overwrite=True)
    assert_same(other, isthmus.load(folder), table)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file/model", "file is not a folder"),
        ("absent/model", "absent does not exist"),
        ("file", "file is not a folder"),
        ("mixed", "mixed holds notes.txt besides a model"),
        ("n" * 300, "cannot write .*name too long"),
        ("nul\0byte", "not a usable path"),
    ],
)
def test_a_path_that_cannot_be_written_is_named(path, message, model, tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "notes.txt").write_text("kept")
    before = contents(tmp_path)
    with pytest.raises(FileError, match=rf"(?i){message}"):
        model.save(tmp_path / path, overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_write_that_fails_leaves_everything_as_it_was(overwrite, model, table, tmp_path):
    """The system refuses files beyond a size, as a full disk does."""
    if overwrite:
        model.save(tmp_path / "model")
    before, (soft, hard) = contents(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(FileError, match=f"cannot write {tmp_path / 'model'}: File too large"):
            model.save(tmp_path / "model", overwrite=overwrite)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == before


def test_a_rename_that_fails_puts_the_old_model_back(model, folder, table, tmp_path, monkeypatch):
    before, rename = contents(tmp_path), type(folder).rename

    def refuse(path, target):
        if path.suffix == ".partial":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(type(folder), "rename", refuse)
    with pytest.raises(FileError, match="Input/output error"):
        model.save(folder, overwrite=True)
    assert contents(tmp_path) == before


CUT_OFF = """
import os, pathlib, pickle, sys
rename = pathlib.Path.rename
def end(path, target):
    if path.suffix == ".partial":
        os._exit(9)
    return rename(path, target)
pathlib.Path.rename = end
pickle.load(open(sys.argv[1], "rb")).save(sys.argv[2], overwrite=True)
"""


def test_an_overwrite_that_is_cut_off_between_its_renames_leaves_the_old_model(model, folder, table, tmp_path, caplog):
    other = fit(isthmus.Autoencoder, table)
    (tmp_path / "other").write_bytes(pickle.dumps(other))
    ended = subprocess.run([sys.executable, "-c", CUT_OFF, str(tmp_path / "other"), str(folder)], check=False)
    assert ended.returncode == 9
    assert not folder.exists()
    assert_same(isthmus.load(folder), model, table)
    assert "was cut off" in caplog.text
    with pytest.raises(FileError, match="exists"):
        other.save(folder)
    other.save(folder, overwrite=True)
    assert_same(isthmus.load(folder), other, table)
    assert not (tmp_path / ".model.old").exists()


MOUNTED = """
import pickle, sys
model, where = pickle.load(open(sys.argv[1], "rb")), sys.argv[2] + "/model"
try:
    model.save(where)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("options", "message"), [("size=64k", "No space left on device"), ("ro,size=8m", "Read-only file system")]
)
def test_a_full_disk_and_a_read_only_mount_are_named(options, message, table, tmp_path):
    """On a real file system of its own, mounted where the kernel lets a user do so."""
    wide = fit(isthmus.Autoencoder, table, encoder=isthmus.MLPEncoder((200, 100)))
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(wide))
    (tmp_path / "disk").mkdir()
    script = f'mount -t tmpfs -o {options} tmpfs "$2" && "$0" -c "$3" "$1" "$2" && ls -A "$2"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    arguments = [sys.executable, str(tmp_path / "model.pickle"), str(tmp_path / "disk"), MOUNTED]
    if shutil.which("unshare") is None or subprocess.run([*command[:4], "true"], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a file system")
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if "mount" in done.stderr:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    assert done.stdout == f"FileError cannot write {tmp_path / 'disk' / 'model'}: {message}\n", done.stderr


# ---------------------------------------------------------------------- bad folders


def edit(folder, change, name="spec.json"):
    """Change a JSON file, and its digest with it, as a forger would."""
    data = json.loads((folder / name).read_text())
    changed = change(data)
    (folder / name).write_text(json.dumps(data if changed is None else changed))
    if name != "spec.json":
        sign(folder)


def sign(folder):
    import hashlib

    spec = json.loads((folder / "spec.json").read_text())
    spec["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES[:3]}
    (folder / "spec.json").write_text(json.dumps(spec))


def edit_weights(folder, change):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    sign(folder)


def put(value, *keys):
    def change(data):
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return lambda folder: edit(folder, change)


def cut(name, keep=0.5):
    def change(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return change


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


ENCODER = ("line", "parts", "encoder")
BAD = {
    "no spec": (lambda folder: (folder / "spec.json").unlink(), "spec.json is missing"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no history": (lambda folder: (folder / "history.json").unlink(), "history.json is missing"),
    "cut weights": (cut("model.safetensors"), "model.safetensors was changed or cut short"),
    "cut history": (cut("history.json"), "history.json was changed or cut short"),
    "cut spec": (cut("spec.json"), "spec.json is not valid JSON"),
    "empty spec": (cut("spec.json", 0), "spec.json is not valid JSON"),
    "other learnt": (write("learnt.json", "{}"), "learnt.json was changed"),
    "cut and signed": (lambda folder: (cut("model.safetensors")(folder), sign(folder)), "(?i)model|header|incomplete"),
    "not an object": (write("spec.json", "[]"), "must hold a JSON object, got list"),
    "not UTF-8": (lambda folder: (folder / "spec.json").write_bytes(b"\xff\xfe{}"), "spec.json is not valid JSON"),
    "not JSON's NaN": (write("spec.json", '{"a": NaN}'), "NaN is no number of JSON"),
    "deep": (write("spec.json", "[" * 10**6 + "]" * 10**6), f"nested 1000000 deep; at most {MAX_DEPTH}"),
    "deep, unclosed": (write("spec.json", '"' + '\\"' * 10**6 + "["), "not valid JSON"),
    "many digits": (write("spec.json", '{"format_version": ' + "9" * 10**5 + "}"), "spec.json is not valid JSON"),
    "newer format": (put(2, "format_version"), "format_version must be 1, got 2"),
    "no format": (lambda folder: edit(folder, lambda spec: {"a": 1}), "format_version must be 1, got None"),
    "keys missing": (lambda folder: edit(folder, lambda spec: spec.pop("line") and None), "spec.json lacks line"),
    "unknown estimator": (put("os.system", "estimator"), "names the estimator 'os.system'"),
    "estimator no name": (put(["Autoencoder"], "estimator"), "names the estimator"),
    "unknown parameter": (put(1, "params", "colour"), "colour"),
    "import path as part": (put("os.system", *ENCODER, "part"), "the encoder 'os.system', which is no part"),
    "part no name": (put({}, *ENCODER, "part"), "which is no part"),
    "unknown kind": (put("module", *ENCODER, "kind"), "unknown kind of part 'module'"),
    "kind no name": (put([], *ENCODER, "kind"), "unknown kind of part"),
    "wrong kind": (lambda folder: swap_parts(folder), "the encoder must be a part of that kind, got MLPDecoder"),
    "missing part": (put(None, *ENCODER), "the encoder must be a part of that kind, got NoneType"),
    "bad argument": (put("cubic", *ENCODER, "params", "activation"), "activation must be one of"),
    "unknown argument": (put(1, *ENCODER, "params", "colour"), "MLPEncoder cannot take"),
    "huge layer": (put([10**7, 10**7], *ENCODER, "params", "hidden_dims"), r"must be \(10000000, 6\)"),
    "absurd layer": (put([2**62, 2**62], *ENCODER, "params", "hidden_dims"), "(?i)overflow|storage|size|lacks|must be"),
    "huge code": (put(10**9, "line", "latent_dim"), "must be"),
    "no width": (put(-1, "line", "latent_dim"), "latent_dim must be a whole number"),
    "huge space": (put([10**9], "line", "space", "shape"), "must be"),
    "negative space": (put([-6], "line", "space", "shape"), "not the space of a sample"),
    "space of text": (put(["6"], "line", "space", "shape"), "not the space of a sample"),
    "unknown dtype": (put("float8", "line", "dtype"), "dtype must be one of"),
    "other dtype": (put("float64", "line", "dtype"), "float64, got .* torch.float32"),
    "other device": (put("abacus", "params", "device"), "abacus"),
    "forged method": (lambda folder: edit(folder, put_key("transform", 1), "learnt.json"), "'transform' is no learnt"),
    "forged line": (lambda folder: edit(folder, put_key("module_", 1), "learnt.json"), "'module_' is no learnt"),
    "forged data": (lambda folder: edit(folder, put_key("a_", {"x": 1}), "learnt.json"), "not a part"),
    "no history in it": (lambda folder: edit(folder, lambda _: {"a": 1}, "history.json"), "lacks 'history'"),
    "tensor missing": (
        lambda folder: edit_weights(folder, lambda w: w.pop("scaler.shift")),
        "lacks the tensor 'scaler",
    ),
    "tensor too many": (lambda folder: edit_weights(folder, put_key("b", torch.ones(1))), r"belong nowhere: \['b'\]"),
    "tensor's shape": (
        lambda folder: edit_weights(folder, put_key("scaler.shift", torch.zeros(5, dtype=torch.float64))),
        r"'scaler.shift' must be \(6,\) torch.float64, got \(5,\)",
    ),
    "tensor's dtype": (
        lambda folder: edit_weights(folder, put_key("scaler.shift", torch.zeros(6))),
        r"'scaler.shift' must be \(6,\) torch.float64, got \(6,\) torch.float32",
    ),
}


def put_key(key, value):
    def change(data):
        data[key] = value

    return change


def swap_parts(folder):
    edit(folder, lambda spec: spec["line"]["parts"].update(encoder=spec["line"]["parts"]["decoder"]))


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_refused_by_name(case, folder):
    spoil, message = BAD[case]
    spoil(folder)
    with pytest.raises(FileError, match=message) as caught:
        isthmus.load(folder)
    assert str(folder) in str(caught.value)


def test_what_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="no such model"):
        isthmus.load(tmp_path / "absent")
    with pytest.raises(FileError, match="is no folder of a model"):
        isthmus.load(tmp_path / "file")
    with pytest.raises(FileError, match=r"spec\.json is missing"):
        isthmus.load(tmp_path)


# ---------------------------------------------------------------------- data


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, 2.5, "a", True, (1, (2,))],
        {"a": {1: [float("inf"), float("-inf")]}},
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.float32(0.1),
        np.array(["a", "b"]),
        np.array([["a", None]], dtype=object),
        torch.arange(3.0),
        np.zeros((0, 3)),
        np.array(2.5),
    ],
    ids=str,
)
def test_what_was_learnt_survives_as_json(value):
    tensors = {}
    data = json.loads(json.dumps(encode(value, "it", tensors, None), allow_nan=False))
    back = decode(data, tensors, None)
    assert tensors == {}
    if isinstance(value, np.ndarray):
        assert (back.dtype.kind, back.shape) == (value.dtype.kind, value.shape)
        np.testing.assert_array_equal(back, value)
    elif isinstance(value, torch.Tensor):
        torch.testing.assert_close(back, value, rtol=0, atol=0)
    else:
        assert back == value
        assert type(back) is (float if isinstance(value, np.generic) else type(value))


def test_a_tuple_of_a_part_stays_a_tuple():
    part = isthmus.MLPEncoder((8, 4))
    assert from_spec(json.loads(json.dumps(to_spec(part)))).hidden_dims == (8, 4)
    assert from_spec(to_spec(isthmus.MLPEncoder([8]))).hidden_dims == [8]
