"""Every estimator and encoder as a file: what the file gives is what the model gives, or there is no file."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus import AnomalyDetector, Autoencoder, ConvEncoder, Seq2Seq, TransformerEncoder, UNetEncoder, spec
from isthmus.errors import DataError, ExportError, FileError, ParameterError, UnsupportedError
from isthmus.export import checking, files
from isthmus.persistence import estimators

pytest.importorskip("onnxruntime", reason="pip install 'isthmus[export]'")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "make_export.py"
ENDING = {"onnx": "onnx", "torch_export": "pt2"}
QUICK = {"Segmenter, unet, images"}
"""What is exported to ONNX each time; all of it in the slow tests."""
QUICK_PROGRAMS = {"VariationalAutoencoder, mlp, gaussian, table", "Autoencoder, conv, images of bytes"}


def page():
    description = importlib.util.spec_from_file_location("make_export", PAGE)
    module = importlib.util.module_from_spec(description)
    sys.modules["make_export"] = module
    description.loader.exec_module(module)
    return module


PAGE_CASES = page().CASES


def cases():
    """Each row of the page in both formats."""
    for case in PAGE_CASES:
        name = f"{case.estimator}, {case.encoder}, {case.data}"
        for format, quick in (("onnx", QUICK), ("torch_export", QUICK_PROGRAMS)):
            marks = () if name in quick else pytest.mark.slow
            yield pytest.param(case, format, id=f"{name}, {format}", marks=marks)


def opened(path):
    """A function of named arrays that runs the file, as a program without isthmus would."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]
        return lambda **given: session.run(None, {name: given[name] for name in names})
    module = torch.export.load(path).module()

    def run(**given):
        with torch.no_grad():
            found = module(*(torch.from_numpy(value) for value in given.values()))
        return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]

    return run


@pytest.mark.parametrize(("case", "format"), [*cases()])
def test_the_file_gives_what_the_model_gives(case, format, tmp_path):
    model, X = case.fitted(), case.fit[0]
    for method in case.methods:
        path = tmp_path / f"{method}.{ENDING[format]}"
        if "windows" in case.estimator:
            with pytest.raises(UnsupportedError, match="window must be None"):
                model.export(path, method=method, format=format)
            continue
        done = model.export(path, None if case.data.startswith("a series") else X, method=method, format=format)
        assert done.largest_difference <= 1e-4
        assert path.stat().st_size == done.bytes
        if method in ("start", "step") or case.known is not None:
            continue  # held to the model on export, and to what it writes below
        rows = np.stack([X[3:23], X[7:27]]).astype(np.float32) if X.ndim == 1 else X[:5]
        wanted = np.stack(model.predict(list(rows))) if X.ndim == 1 else getattr(model, method)(rows)
        (found,) = opened(path)(x=rows)
        assert found.shape == wanted.shape
        assert found.dtype.kind == wanted.dtype.kind
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_page_has_every_estimator_encoder_and_bottleneck():
    told = " ".join(f"{case.estimator} {case.encoder}" for case in PAGE_CASES).replace("SparseAuto", "Sparse Auto")
    assert {name for name in estimators() if name not in " ".join(case.estimator for case in PAGE_CASES)} == set()
    assert {name for name in spec.registry("encoder") if name not in told} == set()
    assert {name for name in spec.registry("bottleneck") if name not in told + " dense"} == set()
    written = PAGE.with_name("export.md").read_text(encoding="utf-8")
    for case in PAGE_CASES:
        assert f"| {case.estimator} | {case.encoder} | {case.data} | " in written


# ---------------------------------------------------------------------- sizes, texts, 8 bits


@pytest.fixture(scope="module")
def table():
    X = np.random.default_rng(0).normal(size=(60, 9)).astype("float32") * 30 + 500
    return Autoencoder(max_epochs=2, random_state=0).fit(X), X


def test_rows_are_drawn_where_none_are_given_and_the_scaler_is_inside(table, tmp_path):
    model, X = table
    done = model.export(tmp_path / "x.pt2", method="reconstruct", format="torch_export")
    assert done.free_axes == {"x": (0,)}
    assert done.quantization_error is None
    assert done.milliseconds_a_row > 0
    (found,) = opened(tmp_path / "x.pt2")(x=X[:7])
    assert abs(found - X[:7]).max() < 200  # the user's units, about 500
    np.testing.assert_allclose(found, model.reconstruct(X[:7]), rtol=1e-5)


def test_sizes_are_free_where_the_network_allows(tmp_path):
    X = np.random.default_rng(0).random((6, 20, 20), dtype=np.float32)
    model = Autoencoder(encoder=UNetEncoder((4, 8)), bottleneck="identity", max_epochs=1, random_state=0).fit(X)
    done = model.export(tmp_path / "u.pt2", X, method="reconstruct", format="torch_export")
    assert done.free_axes == {"x": (0, 1, 2)}
    other = np.random.default_rng(1).random((2, 33, 14), dtype=np.float32)
    np.testing.assert_allclose(opened(tmp_path / "u.pt2")(x=other)[0], model.reconstruct(other), atol=1e-5)
    series = np.random.default_rng(0).normal(size=(8, 6, 2)).astype("float32")
    model = Autoencoder(encoder=TransformerEncoder(8, 2, 1), max_epochs=1, random_state=0).fit(series)
    assert model.export(tmp_path / "s.pt2", series, format="torch_export").free_axes == {"x": (0, 1)}
    longer = np.random.default_rng(1).normal(size=(3, 11, 2)).astype("float32")
    np.testing.assert_allclose(opened(tmp_path / "s.pt2")(x=longer)[0], model.transform(longer), atol=1e-5)


@pytest.mark.parametrize("format", ["torch_export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_greedy_loop_round_start_and_step_writes_what_predict_writes(format, tmp_path):
    words = ["ab", "ba", "abb", "bab", "bbba", "a"] * 20
    model = Seq2Seq(encoder="rnn", tokenizer="char", max_epochs=4, random_state=0).fit(words, [w[::-1] for w in words])
    for method in ("start", "step"):
        model.export(tmp_path / f"{method}.{ENDING[format]}", method=method, format=format)
    start, step = (opened(tmp_path / f"{name}.{ENDING[format]}") for name in ("start", "step"))
    assert [greedy(model, start, step, word) for word in words[:6]] == model.predict(words[:6])


def greedy(model, start, step, text):
    """What the two files write for one text."""
    ids = np.array(model.source_tokenizer_.encode([text]))
    mask = np.ones(ids.shape, bool)
    hidden, memory, keys = start(ids=ids, mask=mask)
    end, written = model.target_tokenizer_.vocabulary_size, []
    previous = end + 1
    while previous != end and len(written) <= model.max_length_:
        state = {"hidden_0": hidden, "memory": memory, "keys": keys, "mask": mask}
        log_p, hidden = _step(step, np.array([previous]), state)
        previous = int(log_p[0].argmax())
        written.append(previous)
    return model.target_tokenizer_.decode([written[:-1]])[0]


def _step(step, previous, state):
    try:
        return step(previous=previous, **state)
    except (TypeError, ValueError, AssertionError):  # a program of torch.export takes the state as one list
        module = step.__closure__[0].cell_contents
        found = module(torch.from_numpy(previous), [torch.from_numpy(value) for value in state.values()])
        return [one.detach().numpy() for one in found]


def test_eight_bits_cost_what_is_told_and_a_file_tells_of_itself(table, tmp_path):
    import onnx

    model, X = table
    exact, small = (model.export(tmp_path / f"{name}.onnx", X, quantize=name) for name in (None, "int8"))
    assert small.bytes < 0.5 * exact.bytes
    wanted, found = model.transform(X), opened(small.path)(x=X)[0]
    assert small.quantization_error == pytest.approx(np.linalg.norm(found - wanted) / np.linalg.norm(wanted), rel=0.02)
    assert 0 < small.quantization_error < 0.1
    notes = {one.key: one.value for one in onnx.load(exact.path).metadata_props}
    assert notes["estimator"] == "Autoencoder"
    assert notes["method"] == "transform"


def test_a_model_of_texts_takes_its_tokenizers_along(tmp_path):
    import onnx

    words = ["ab", "ba", "abb", "bab"] * 5
    model = Seq2Seq(encoder="rnn", tokenizer="char", max_epochs=1, random_state=0).fit(words, words)
    done = model.export(tmp_path / "start.onnx")
    assert done.method == "start"
    notes = {one.key: one.value for one in onnx.load(done.path).metadata_props}
    assert json.loads(notes["source_tokenizer"]) == model.source_tokenizer_.to_json()
    assert int(notes["end"]) == model.target_tokenizer_.vocabulary_size == int(notes["begin"]) - 1


# ---------------------------------------------------------------------- refusals


def test_a_file_that_is_off_is_not_left(table, tmp_path, monkeypatch):
    model, X = table
    path = tmp_path / "x.pt2"
    path.write_text("as it was")
    monkeypatch.setattr(checking, "AGREES", -1.0)
    with pytest.raises(ExportError, match=r"the file's transform is off by .* not written"):
        model.export(path, X, format="torch_export", overwrite=True)
    assert path.read_text() == "as it was"
    assert [one.name for one in tmp_path.iterdir()] == ["x.pt2"]


def test_what_an_exporter_cannot_do_is_named(table, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr(torch.export, "export", fails)
    with pytest.raises(ExportError, match="export to torch_export failed: RuntimeError: no such operator"):
        table[0].export(tmp_path / "x.pt2", format="torch_export")
    assert list(tmp_path.iterdir()) == []


def test_labels_that_differ_are_refused():
    labels = np.array([7, 7, 255])
    assert checking._difference("predict", labels, labels) == 0
    with pytest.raises(ExportError, match=r"0.33 of the file's predict are other"):
        checking._difference("predict", labels, np.array([7, 255, 255]))
    with pytest.raises(ExportError, match="has the shape"):
        checking._difference("predict", labels, labels[:2])


@pytest.mark.parametrize(
    ("arguments", "error", "saying"),
    [
        ({"format": "tflite"}, ParameterError, "format must be"),
        ({"quantize": "int4"}, ParameterError, "quantize must be"),
        ({"quantize": "int8", "format": "torch_export"}, UnsupportedError, "quantize needs format='onnx'"),
        ({"method": "sample"}, ParameterError, r"method must be one of \['transform', 'reconstruct'\]"),
        ({"path": "x.bin"}, FileError, r"path must end in \.onnx"),
        ({"path": "nowhere/x.onnx"}, FileError, "must lie in a folder that exists"),
        ({"X": np.ones((1, 9))}, DataError, "at least 2 rows"),
        ({"X": np.ones((5, 8))}, DataError, "9"),
    ],
)
def test_refusals(table, tmp_path, arguments, error, saying):
    path = tmp_path / arguments.get("path", f"x.{ENDING.get(arguments.get('format'), 'onnx')}")
    with pytest.raises(error, match=saying):
        table[0].export(**{**arguments, "path": path})
    assert list(tmp_path.iterdir()) == []


def test_more_refusals(table, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.touch()
    with pytest.raises(FileError, match="exists; choose another path or overwrite it"):
        table[0].export(path)
    (tmp_path / "y.onnx").mkdir()
    with pytest.raises(FileError, match=r"path must be a file, got the folder '.*y.onnx'"):
        table[0].export(tmp_path / "y.onnx", overwrite=True)
    forecaster = Seq2Seq(window=12, horizon=2, max_epochs=1).fit(np.sin(np.arange(80)))
    with pytest.raises(DataError, match="X must have at least window = 12 steps to export with, got 6"):
        forecaster.export(tmp_path / "z.onnx", np.arange(6.0))
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"needs onnx, onnxscript, onnxruntime: pip install 'isthmus\[export\]'"):
        table[0].export(path, overwrite=True)
    with pytest.raises(ValueError, match="not fitted yet"):
        Autoencoder().export(path)


@pytest.mark.slow
def test_convolutions_alone_have_no_products_to_quantise(tmp_path):
    X = np.random.default_rng(0).random((6, 12, 12), dtype=np.float32)
    encoder = ConvEncoder((4,), pool=None)
    model = Autoencoder(encoder=encoder, bottleneck="identity", max_epochs=1, random_state=0).fit(X)
    with pytest.raises(UnsupportedError, match="this graph has none"):
        model.export(tmp_path / "x.onnx", X, method="reconstruct", quantize="int8")
    assert list(tmp_path.iterdir()) == []


def test_a_detector_of_texts_is_refused(tmp_path):
    texts = ["a b", "b a", "a a"] * 4
    inner = Autoencoder(tokenizer="word", max_epochs=1, random_state=0)
    detector = AnomalyDetector(inner).fit(texts)
    with pytest.raises(UnsupportedError, match="a detector of texts"):
        detector.export(tmp_path / "x.pt2", format="torch_export")
