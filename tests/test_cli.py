"""The command line: every command, its files, its one-line errors."""

import importlib
import json
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import isthmus
import isthmus.estimators
from isthmus import spec
from isthmus.cli import app
from isthmus.cli.search import parse_grid
from isthmus.cli.values import parse_settings, parse_value, snake_case
from isthmus.errors import ParameterError

COMMANDS = [
    "fit",
    "search",
    "transform",
    "reconstruct",
    "score",
    "predict",
    "sample",
    "report",
    "profile",
    "export",
    "push",
    "info",
    "list",
]


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def fails(*words, saying):
    """The command ends with status 2 and one line on stderr, which holds the words; stdout stays empty."""
    done = run(*words, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("isthmus: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert saying in done.stderr
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data in every form, a variational autoencoder and a detector."""
    place = tmp_path_factory.mktemp("cli")
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(64, 4)), columns=["age", "height", "x y", "ω"])
    frame.to_csv(place / "rows.csv", index=False)
    frame.to_parquet(place / "rows.parquet")
    rows = frame.to_numpy()
    np.save(place / "rows.npy", rows)
    np.savez(place / "both.npz", first=rows, second=rows + 1)
    small = ["--set", "max_epochs=2", "--seed", 1, "--quiet"]
    run("fit", "variational_autoencoder", place / "rows.csv", "--out", place / "vae", "--set", "latent_dim=2", *small)
    detector = ["--set", "estimator=Autoencoder(max_epochs=2)", "--set", "contamination=0.1"]
    run("fit", "anomaly_detector", place / "rows.csv", "--out", place / "detector", *detector, "--quiet", "--seed", 1)
    return place


# ---------------------------------------------------------------------- fit


def test_fit_goes_on_from_checkpoints(place, tmp_path):
    small = ["--set", "max_epochs=2", "--seed", 1, "--quiet", "--checkpoint-dir", tmp_path / "run", "--resume"]
    for out in ("first", "again"):
        run("fit", "autoencoder", place / "rows.csv", "--out", tmp_path / out, *small)
    first, again = (isthmus.load(tmp_path / out) for out in ("first", "again"))
    assert first.history_ == again.history_  # the seconds too: it was not trained a second time
    detector = ["--set", "estimator=Autoencoder(max_epochs=2)", "--checkpoint-dir", tmp_path / "detector", "--quiet"]
    run("fit", "anomaly_detector", place / "rows.csv", "--out", tmp_path / "detected", *detector)
    assert list((tmp_path / "detector").glob("step-*"))


def test_profile_says_which_settings_to_use(place):
    small = ["profile", "variational_autoencoder", place / "rows.csv", "--seconds", "0.001", "--no-compile"]
    told = run(*small, "--set", "latent_dim=2").stdout
    for words in ("ms a step", "a step as written", "optimizer", "aten::", "of a product of matrices"):
        assert words in told
    assert told.splitlines()[-1].startswith("use compile=")
    found = json.loads(run(*small, "--json").stdout)
    assert found["best"] in found["timings"]
    assert list(found["parts"]) == ["data", "forward", "backward", "optimizer"]
    fails("profile", "autoencoder", place / "rows.csv", "--set", "batch_size=0", saying="batch_size must be")
    fails("profile", "autoencoder", place / "none.npy", saying="none.npy")


def test_export_writes_a_file_and_says_how_good_it_is(place, tmp_path):
    out = tmp_path / "codes.pt2"
    at = ["export", place / "vae", out, "--format", "torch_export"]
    told = run(*at, "--data", place / "rows.csv").stdout
    assert out.exists()
    assert f"{out}: transform in {out.stat().st_size} bytes" in told
    assert "off by" in told
    assert re.search(r"one row +[\d.e-]+ ms", told)
    assert json.loads(run(*at, "--overwrite", "--method", "reconstruct", "--json").stdout)["method"] == "reconstruct"
    fails(*at, saying="exists; choose another path or overwrite it")
    fails(*at[:3], saying="path must end in .onnx")


def test_fit_says_what_a_checkpoint_needs(place, tmp_path):
    at = ["fit", "anomaly_detector", place / "rows.csv", "--out", tmp_path / "x"]
    fails(*at, "--checkpoint-dir", tmp_path / "run", saying="--checkpoint-dir needs an estimator by name")
    fails(*at, "--resume", saying="resume=True needs a checkpoint_dir")


def test_fit_makes_the_model_that_python_makes(place, tmp_path):
    settings = [
        "encoder=mlp",
        "encoder__hidden_dims=[6, 5]",
        "penalties=[L2Weights(0.001), 'l1_activity']",
        "scale=None",
    ]
    words = [word for setting in [*settings, "max_epochs=2", "latent_dim=3"] for word in ("--set", setting)]
    done = run("fit", "autoencoder", place / "rows.csv", "--out", tmp_path / "m", "--seed", 3, *words, "--json")
    told = json.loads(done.stdout)
    assert (told["model"], told["epochs"]) == (str(tmp_path / "m"), 2)
    made = isthmus.load(tmp_path / "m")
    twin = isthmus.Autoencoder(
        latent_dim=3,
        encoder=isthmus.MLPEncoder([6, 5]),
        penalties=[isthmus.L2Weights(0.001), "l1_activity"],
        scale=None,
        max_epochs=2,
        random_state=3,
    ).fit(pd.read_csv(place / "rows.csv"))
    np.testing.assert_array_equal(made.transform(place / "rows.csv"), twin.transform(place / "rows.csv"))
    assert told["last_epoch"]["objective"] == twin.history_[-1]["objective"]
    assert made.verbose is False


def test_fit_tells_its_progress_on_stderr_and_is_silent_on_request(place, tmp_path):
    words = ["fit", "autoencoder", place / "rows.npy", "--set", "max_epochs=2", "--out"]
    loud, quiet = run(*words, tmp_path / "a"), run(*words, tmp_path / "b", "--quiet")
    assert "epochs" in loud.stderr
    assert quiet.stderr == ""
    for done in (loud, quiet):
        assert "Autoencoder, 2 epochs, objective " in done.stdout


def test_fit_takes_pairs_and_validation(place, tmp_path):
    first, second = (f"{place / 'both.npz'}:{name}" for name in ("first", "second"))
    held = ["--validation", first, "--validation-target", second]
    words = ["--target", second, *held, "--set", "max_epochs=1", "--quiet"]
    run("fit", "denoising_autoencoder", first, "--out", tmp_path / "m", *words)
    model = isthmus.load(tmp_path / "m")
    assert model.module_.corruption is None
    assert "val_objective" in model.history_[-1]
    run(
        "fit", "autoencoder", first, "--out", tmp_path / "n", "--validation", second, "--set", "max_epochs=1", "--quiet"
    )
    assert "val_objective" in isthmus.load(tmp_path / "n").history_[-1]


def test_fit_refuses_before_it_trains(place, tmp_path):
    rows, out = place / "rows.csv", ["--out", tmp_path / "m"]
    fails("fit", "autoencodr", rows, *out, saying="ESTIMATOR must be one of anomaly_detector, autoencoder,")
    fails("fit", "autoencoder", rows, *out, "--set", "colour=1", saying="has no parameter 'colour'; it has accumulate,")
    fails("fit", "autoencoder", rows, *out, "--set", "latent_dim", saying="--set must be name=value")
    fails(
        "fit",
        "autoencoder",
        rows,
        *out,
        "--set",
        "encoder=mpl",
        saying="encoder must be one of ['backbone', 'conv', 'mlp', ",
    )
    fails("fit", "autoencoder", rows, *out, "--set", "loss=Mean(1)", saying="no part 'Mean'; there are AbsoluteError,")
    fails("fit", "autoencoder", rows, *out, "--set", "loss=Hinge(1)", saying="no part 'Hinge'")
    fails("fit", "autoencoder", rows, *out, "--set", "encoder=MLPEncoder(depth=1)", saying="unexpected keyword")
    fails("fit", "autoencoder", rows, *out, "--set", "latent_dim=0", saying="latent_dim must be")
    fails("fit", "autoencoder", rows, *out, "--target", rows, saying="--target: Autoencoder rebuilds DATA itself")
    for folder in (tmp_path / "m", tmp_path / "m" / "run"):
        fails(
            "fit",
            "autoencoder",
            rows,
            *out,
            "--checkpoint-dir",
            folder,
            saying="--checkpoint-dir must be another folder",
        )
    held = ["--validation", rows, "--validation-target", rows]
    fails("fit", "autoencoder", rows, *out, *held, saying="--validation-target: Autoencoder rebuilds --validation")
    fails("fit", "autoencoder", rows, *out, *held[2:], saying="--validation-target needs --validation")
    column = f"{rows}:{isthmus.adapters.read(rows).columns[0]}"
    fails("fit", "denoising_autoencoder", rows, *out, "--target", column, saying="--target must hold clean rows like")
    fails("profile", "autoencoder", rows, "--target", rows, saying="--target: Autoencoder rebuilds DATA itself")
    fails("fit", "autoencoder", tmp_path / "no.csv", *out, saying="DATA: no such file")
    fails("fit", "autoencoder", place / "both.npz", *out, saying="pick one of ['first', 'second']")
    fails("fit", "autoencoder", f"{place / 'both.npz'}:third", *out, saying="no array 'third'")
    fails(
        "fit", "autoencoder", rows, "--out", place / "vae", saying="exists; choose another path or --overwrite a model"
    )
    fails("fit", "autoencoder", rows, "--out", rows / "m", saying="rows.csv is not a folder")
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------- results


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
@pytest.mark.parametrize("command", ["transform", "reconstruct", "score", "sample", "predict"])
def test_results_are_those_of_python(command, suffix, place, tmp_path):
    folder, rows = place / ("detector" if command == "predict" else "vae"), place / "rows.csv"
    model, out = isthmus.load(folder), tmp_path / f"out{suffix}"
    given = ["--n", 5, "--seed", 2] if command == "sample" else [rows]
    run(command, folder, *given, "--out", out)
    method = {"score": "score_samples"}.get(command, command)
    wanted = np.asarray(
        model.sample(5, random_state=2) if command == "sample" else getattr(model, method)(pd.read_csv(rows))
    )
    name = {"transform": "codes", "reconstruct": "reconstruction", "predict": "prediction", "sample": "samples"}
    got, columns = read(out, name.get(command, command))
    np.testing.assert_array_equal(got.astype(wanted.dtype).reshape(wanted.shape), wanted)
    if columns is not None:
        own = ["age", "height", "x y", "ω"]
        codes = [f"variationalautoencoder{i}" for i in range(2)]
        assert columns == {"transform": codes, "reconstruct": own, "sample": own}.get(
            command, [name.get(command, command)]
        )
    assert os.listdir(tmp_path) == [out.name]


def read(path, name):
    if path.suffix == ".npy":
        return np.load(path), None
    if path.suffix == ".npz":
        with np.load(path) as archive:
            assert archive.files == [name]
            return archive[name], None
    if path.suffix == ".csv":
        header, *lines = path.read_text().splitlines()
        return np.array([[float(value) for value in line.split(",")] for line in lines]), header.split(",")
    frame = pd.read_parquet(path)
    return frame.to_numpy(), list(frame.columns)


def test_an_out_that_cannot_be_written_is_named(place, tmp_path, monkeypatch):
    words = ["transform", place / "vae", place / "rows.csv", "--out"]
    (tmp_path / "old.npy").write_text("kept")
    fails(*words, tmp_path / "old.npy", saying="old.npy exists")
    assert (tmp_path / "old.npy").read_text() == "kept"
    fails(*words, tmp_path / "codes.doc", saying="--out must end in one of .npy, .npz, .csv, .parquet")
    fails(*words, tmp_path / "old.npy" / "codes.npy", saying="is no folder")
    fails(*words, tmp_path / "absent" / "codes.npy", saying="is no folder")
    run(*words, tmp_path / "old.npy", "--overwrite")
    assert np.load(tmp_path / "old.npy").shape == (64, 2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fails(*words, tmp_path / "codes.csv", saying="writing .csv needs pandas: pip install 'isthmus[frames]'")
    assert os.listdir(tmp_path) == ["old.npy"]


def test_images_do_not_fit_a_table(place, tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).normal(size=(10, 3, 4)))
    words = ["--set", "max_epochs=1", "--quiet"]
    run("fit", "autoencoder", tmp_path / "images.npy", "--out", tmp_path / "m", *words)
    words = ["reconstruct", tmp_path / "m", tmp_path / "images.npy", "--out"]
    fails(*words, tmp_path / "out.csv", saying="rows of shape (3, 4) fit no table; write .npy or .npz")
    run(*words, tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").shape == (10, 3, 4)


def test_score_prints_the_mean(place):
    mean = isthmus.load(place / "vae").score(place / "rows.csv")
    assert float(run("score", place / "vae", place / "rows.csv").stdout) == pytest.approx(mean, rel=1e-7)
    assert json.loads(run("score", place / "vae", place / "rows.csv", "--json").stdout) == {"mean": mean, "n": 64}


def test_what_a_model_cannot_do_is_named(place, tmp_path):
    out = ["--out", tmp_path / "out.npy"]
    fails(
        "predict", place / "vae", place / "rows.csv", *out, saying="holds VariationalAutoencoder, which has no predict"
    )
    fails("sample", place / "detector", *out, saying="holds AnomalyDetector, which has no sample")
    fails("sample", place / "vae", "--n", 0, *out, saying="n must be a whole number of at least 1")
    fails("transform", place / "vae", place / "both.npz", *out, saying="pick one of")
    fails("transform", tmp_path / "none", place / "rows.csv", *out, saying="no such model")
    assert os.listdir(tmp_path) == []


def test_report_writes_a_page_with_its_command(place, tmp_path):
    words = ["report", place / "vae", place / "rows.csv", "--out", tmp_path / "report.html"]
    run(*words)
    page = (tmp_path / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "isthmus report" in page
    fails(*words, saying=f"--out: {words[-1]} exists; choose another path or --overwrite a file")


def test_a_library_s_warning_is_one_line(place, tmp_path):
    isthmus.Autoencoder(max_epochs=1).fit(np.load(place / "rows.npy")).save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of tests
        done = run("reconstruct", tmp_path / "model", place / "rows.csv", "--out", tmp_path / "rebuilt.csv")
    told = "X has feature names, but Autoencoder was fitted without feature names"
    assert (done.stdout, done.stderr) == ("", f"isthmus: warning: {told}\n")


def test_masks_are_read_as_labels_and_paired_by_name(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(4):
        ink = np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8)
        image.fromarray(ink).save(tmp_path / "images" / f"{i}.png")
        mask = image.fromarray((ink > 127).astype(np.uint8)).convert("P")  # labels of a palette
        mask.save(tmp_path / "masks" / f"{i}_mask.png")
    words = ["segmenter", tmp_path / "images", "--target", tmp_path / "masks", "--set", "max_epochs=1", "--quiet"]
    run("fit", *words, "--out", tmp_path / "model")
    assert isthmus.load(tmp_path / "model").classes_.tolist() == [0, 1]
    search = ["search", *words[:-1], "--grid", "learning_rate=0.01", "--folds", 2]
    run(*search, "--out", tmp_path / "best")
    assert isthmus.load(tmp_path / "best").classes_.tolist() == [0, 1]
    (tmp_path / "masks" / "2_mask.png").rename(tmp_path / "masks" / "x_mask.png")
    fails("fit", *words, "--out", tmp_path / "other", saying="no mask 2_mask.*")
    fails(*search, "--out", tmp_path / "other", saying="no mask 2_mask.*")


def test_help_says_whose_targets_there_are():
    told = " ".join(run("fit", "--help").stdout.split())
    assert "a denoising_autoencoder's clean rows, a segmenter's masks" in told


# ---------------------------------------------------------------------- info and list


def test_info_reads_the_folder_alone(place, tmp_path):
    facts = json.loads(run("info", place / "vae", "--json").stdout)
    assert facts["estimator"] == "VariationalAutoencoder"
    assert (facts["epochs"], facts["latent_dim"], facts["sample_shape"]) == (2, 2, [4])
    assert facts["columns"] == ["age", "height", "x y", "ω"]
    assert facts["parts"]["bottleneck"]["part"] == "Gaussian"
    model = isthmus.load(place / "vae")
    assert facts["saved_numbers"] == sum(value.numel() for value in model.module_.state_dict().values())
    table = run("info", place / "vae").stdout
    assert "bottleneck: Gaussian()" in table
    assert "AnomalyDetector" in run("info", place / "detector").stdout
    fails("info", tmp_path, saying="spec.json is missing")
    fails("info", place / "rows.csv", saying="is no folder of a model")


def test_list_names_every_part_with_its_formula():
    listed = json.loads(run("list", "--json").stdout)
    names = {(one["kind"], one["name"]) for one in listed}
    assert {(one.kind, one.name) for one in spec.catalogue()} <= names
    assert {("estimator", snake_case(name)) for name in isthmus.estimators.__all__} <= names
    table = run("list").stdout
    assert all(one["name"] in table for one in listed)
    assert isthmus.Gaussian.formula in table


def test_grid_says_which_pairs_build():
    cells = json.loads(run("list", "--grid", "--json").stdout)
    assert set(cells) == set(spec.registry("encoder"))
    assert all(set(row) == set(spec.registry("bottleneck")) for row in cells.values())
    assert cells["mlp"]["gaussian"] == {"table": None, "sequence": None, "image": None}
    assert "table, sequence, image" in run("list", "--grid").stdout


# ---------------------------------------------------------------------- the program


def test_every_flag_and_argument_has_help():
    group = get_command(app)
    assert list(group.commands) == COMMANDS
    for name, command in {"isthmus": group, **group.commands}.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"


def test_usage_errors_are_one_line_too():
    fails("fit", saying="Missing argument 'ESTIMATOR'")
    fails("fit", "autoencoder", "rows.csv", saying="Missing option '--out'")
    fails("polish", saying="No such command 'polish'")
    fails("info", "m", "--colour", saying="--colour")


def test_debug_shows_the_traceback():
    done = run("info", "no such model", "--debug", code=2)
    assert "Traceback (most recent call last)" in done.stderr
    assert "FileError: no such model" in done.stderr


def test_a_fault_of_ours_is_one_line_with_its_kind(monkeypatch):
    def fault(*_):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("isthmus.persistence.describe", fault)
    fails("info", "m", saying="isthmus: ZeroDivisionError: division by zero")


def test_help_and_version_need_no_torch():
    code = (
        "import sys\nfrom isthmus.cli import app\n"
        "try:\n    app(['fit', '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({'torch', 'sklearn', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert run("--version").stdout == f"{isthmus.__version__}\n"
    assert "Commands:" in run().stdout


def test_the_module_is_the_program(place, tmp_path):
    out = tmp_path / "codes.csv"
    words = [
        sys.executable,
        "-m",
        "isthmus",
        "transform",
        str(place / "vae"),
        str(place / "rows.csv"),
        "--out",
        str(out),
    ]
    first, again = (subprocess.run(words, capture_output=True, text=True, check=False) for _ in range(2))
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == f"isthmus: --out: {out} exists; choose another path or --overwrite a file\n"
    assert len(pd.read_csv(out)) == 64


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("-2", -2),
        ("true", True),
        ("True", True),
        ("null", None),
        ("None", None),
        ("[64, 32]", [64, 32]),
        ("(64, -32)", (64, -32)),
        ("[mlp, 'a']", ["mlp", "a"]),
        ("mlp", "mlp"),
        ('"mlp"', "mlp"),
        ("bf16-mixed", "bf16-mixed"),
        ("32-true", "32-true"),
        ("a b", "a b"),
        ("", ""),
        ("os.system('true')", "os.system('true')"),
        ("[x for x in y]", "[x for x in y]"),
    ],
)
def test_values_are_data_or_text(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_values_may_be_parts_and_nothing_else():
    (penalty,) = parse_value("[KLSparsity(2.5, rho=0.1)]")
    assert (type(penalty), penalty.weight, penalty.rho) == (isthmus.KLSparsity, 2.5, 0.1)
    assert parse_value("Cosine(warmup=0.1)").warmup == 0.1
    with pytest.raises(ParameterError, match="no part 'exec'"):
        parse_value("exec('1')")


def test_settings_keep_what_follows_the_first_equals_sign():
    assert parse_settings(["a=b=c", " d =1"]) == {"a": "b=c", "d": 1}


# ---------------------------------------------------------------------- parts of one's own

OWN = """
from isthmus.part import Encoder
from isthmus.types import Features


class Doubled(Encoder):
    def forward(self, seen):
        return Features(2 * seen.x)
"""


def test_parts_of_ones_own_are_named_by_a_flag(place, tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    own = importlib.import_module("own_parts").Doubled
    model = isthmus.Autoencoder(encoder=own(), decoder="mlp", max_epochs=1, random_state=0)
    model.fit(np.load(place / "rows.npy")).save("model")
    given = ["model", place / "rows.npy"]
    flag = ["--parts", "own_parts:Doubled"]
    for command in ("transform", "reconstruct", "score"):
        run(command, *given, "--out", f"{command}.npy", *flag)
    np.testing.assert_array_equal(np.load("transform.npy"), model.transform(np.load(place / "rows.npy")))
    run("report", *given, "--out", "report.html", *flag)
    fails("score", *given, saying="give it: load(path, parts=[Doubled])")
    fails("score", *given, "--parts", "Doubled", saying="--parts must be module:Class")
    fails("score", *given, "--parts", "own_parts:Halved", saying="--parts own_parts:Halved: ")
    fails("score", *given, "--parts", "no_parts:Doubled", saying="No module named 'no_parts'")


def test_texts_in_and_texts_out(tmp_path):
    """A text a line: fit, reconstruct, sample; and pairs of texts for Seq2Seq."""
    source, target, model = tmp_path / "source.txt", tmp_path / "target.txt", tmp_path / "model"
    source.write_text("a dog runs\nthe man sleeps\n" * 10, encoding="utf-8")
    target.write_text("ein Hund rennt\nder Mann schläft\n" * 10, encoding="utf-8")
    quick = ("--set", "max_epochs=1", "--set", "random_state=0", "--quiet")
    run("fit", "variational_autoencoder", source, *quick, "--out", model)
    fitted, texts = isthmus.load(model), source.read_text(encoding="utf-8").splitlines()
    run("reconstruct", model, source, "--out", tmp_path / "made.txt")
    assert (tmp_path / "made.txt").read_text(encoding="utf-8").splitlines() == fitted.reconstruct(texts)
    run("reconstruct", model, source, "--out", tmp_path / "made.csv")
    column = pd.read_csv(tmp_path / "made.csv", keep_default_na=False)["reconstruction"]
    assert column.tolist() == fitted.reconstruct(texts)
    run("sample", model, "--n", 3, "--out", tmp_path / "samples.txt")
    assert len((tmp_path / "samples.txt").read_text(encoding="utf-8").splitlines()) == 3
    run("transform", model, source, "--out", tmp_path / "codes.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), fitted.transform(texts))
    fails("transform", model, source, "--out", tmp_path / "codes.txt", saying=".txt takes texts")

    pairs = tmp_path / "pairs"
    run("fit", "seq2seq", source, "--target", target, *quick, "--out", pairs)  # or seq2_seq, as `list` has it
    run("predict", pairs, source, "--out", tmp_path / "written.txt")
    written = (tmp_path / "written.txt").read_text(encoding="utf-8").splitlines()
    assert written == [" ".join(text.splitlines()) for text in isthmus.load(pairs).predict(texts)]
    wanted = isthmus.load(pairs).score(texts, target.read_text(encoding="utf-8").splitlines())
    assert float(run("score", pairs, source, "--target", target).stdout) == pytest.approx(wanted, rel=1e-7)
    fails("score", pairs, source, saying="y must be the target texts, one a source")
    fails("score", model, source, "--target", target, saying="--target: VariationalAutoencoder scores DATA alone")


def test_a_forecast(tmp_path):
    source, model = tmp_path / "wave.npy", tmp_path / "model"
    np.save(source, np.sin(np.arange(200) / 5))
    quick = ["--set", "window=20", "--set", "horizon=5", "--set", "max_epochs=1", "--quiet"]
    run("fit", "seq2seq", source, *quick, "--out", model)
    run("predict", model, source, "--out", tmp_path / "next.npy")
    assert np.load(tmp_path / "next.npy").shape == (5,)
    pd.DataFrame({"load": np.sin(np.arange(200) / 5)}).to_csv(tmp_path / "wave.csv", index=False)
    run("fit", "seq2seq", tmp_path / "wave.csv", *quick, "--out", tmp_path / "named")
    run("predict", tmp_path / "named", tmp_path / "wave.csv", "--out", tmp_path / "next.csv")
    assert list(pd.read_csv(tmp_path / "next.csv").columns) == ["load"]
    run("report", model, source, "--out", tmp_path / "page.html")
    assert "The last 8 forecasts" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")
def test_a_search_that_scores_no_candidate_saves_none(tmp_path):
    pd.DataFrame({"wave": np.sin(np.arange(200) / 5)}).to_csv(tmp_path / "wave.csv")  # the middle fold is a gap in it
    quick = ["--set", "window=20", "--set", "horizon=5", "--set", "max_epochs=1", "--folds", 3]
    words = ["search", "seq2seq", f"{tmp_path}/wave.csv:wave", *quick, "--grid", "learning_rate=0.01"]
    assert "no candidate could be scored on all folds" in run(*words, "--out", tmp_path / "best", code=2).stderr
    assert not (tmp_path / "best").exists()


def test_series_of_several_lengths_go_to_an_archive(tmp_path):
    from isthmus import Autoencoder
    from isthmus.cli.arrays import write_rows
    from isthmus.errors import DataError

    series = [np.ones((length, 2)) * length for length in (3, 4, 5)]
    made = Autoencoder(max_epochs=1, random_state=0).fit(series * 4).reconstruct(series)
    write_rows(made, tmp_path / "made.npz", False, "reconstruction")
    with np.load(tmp_path / "made.npz") as archive:
        for number, row in enumerate(made):
            np.testing.assert_array_equal(archive[str(number)], row)
    with pytest.raises(DataError, match="rows of several lengths fit no array"):
        write_rows(made, tmp_path / "made.npy", False, "reconstruction")


# ---------------------------------------------------------------------- search


def test_search_saves_the_best_and_shows_all(place, tmp_path):
    fixed = ["--set", "encoder=mlp", "--set", "max_epochs=3", "--set", "encoder__hidden_dims=[8]", "--seed", 1]
    grid = ["--grid", "latent_dim=2,3", "--grid", "learning_rate=1e-3,1e-2", "--folds", 2]
    words = ["search", "autoencoder", place / "rows.npy", *fixed, *grid, "--out", tmp_path / "best"]
    shown = run(*words).stdout
    assert re.search(r"rank\s+latent_dim\s+learning_rate\s+mean score\s+deviation\s+seconds a fit", shown)
    assert len(re.findall(r"^\s*[1-4]\s+[23]\s+0\.0", shown, re.MULTILINE)) == 4
    told = json.loads(run(*words, "--overwrite", "--json").stdout)
    assert [one["rank"] for one in told["candidates"]] == [1, 2, 3, 4]
    best, model = told["candidates"][0], isthmus.load(tmp_path / "best")
    assert {name: getattr(model, name) for name in best["params"]} == best["params"]
    settings = {"encoder": isthmus.MLPEncoder([8]), "max_epochs": 3, "random_state": 1}
    rows = np.load(place / "rows.npy")
    same = isthmus.SearchCV(
        isthmus.Autoencoder(**settings), {"latent_dim": [2, 3], "learning_rate": [1e-3, 1e-2]}, cv=2
    ).fit(rows)
    assert best["mean_score"] == pytest.approx(same.best_score_)
    np.testing.assert_allclose(model.transform(rows), same.transform(rows), rtol=1e-5, atol=1e-6)


def test_search_takes_targets_and_draws(place, tmp_path):
    rows = place / "both.npz:first"
    words = ["search", "denoising_autoencoder", rows, "--target", place / "both.npz:second", "--set", "max_epochs=1"]
    told = run(*words, "--grid", "latent_dim=1,2,3", "--draws", 2, "--folds", 2, "--json", "--out", tmp_path / "best")
    assert len(json.loads(told.stdout)["candidates"]) == 2


def test_search_refuses_before_it_trains(place, tmp_path):
    words = ["search", "autoencoder", place / "rows.npy", "--out", tmp_path / "best"]
    fails(*words, "--grid", "latent_dim=2", "--grid", "latent_dim=3", saying="--grid must name a parameter once")
    assert os.listdir(tmp_path) == []
    fails(*words, "--grid", "latent_dim=0", saying="latent_dim must be")
    detector = ["search", "anomaly_detector", place / "rows.npy", "--out", tmp_path / "best"]
    fails(*detector, "--grid", "contamination=0.1", saying="ESTIMATOR must have a score to be chosen by")
    fails(*words, "--grid", "latent_dim", saying="--grid must be name=v1,v2, such as --grid latent_dim=4,8")
    fails(*words, "--grid", "latent_dim=2,,3", saying="--grid must be name=v1,v2")
    fails(*words, "--grid", "latent=2,3", saying="Autoencoder has no parameter 'latent'")
    fails(
        *words, "--grid", "latent_dim=2", "--target", place / "rows.npy", saying="--target: Autoencoder rebuilds DATA"
    )
    fails(
        "search", "autoencoder", place / "rows.npy", "--grid", "latent_dim=2", "--out", place / "vae", saying="exists"
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("n=2,4", [2, 4]),
        ("n=0.5", [0.5]),
        ("n=[64],[64,32]", [[64], [64, 32]]),
        ("n=relu, tanh", ["relu", "tanh"]),
        ("n=null,'a,b'", [None, "a,b"]),
        ("n=(1,2),{}", [(1, 2), {}]),
    ],
)
def test_a_grid_is_cut_at_its_outer_commas(text, values):
    assert parse_grid([text]) == {"n": values}


def test_a_grid_may_hold_parts():
    (first, second) = parse_grid(["penalties=[L2Weights(0.1), L1Weights()],[]"])["penalties"]
    assert [type(part).__name__ for part in first] == ["L2Weights", "L1Weights"]
    assert second == []
