"""What is tracked is the history, by name or object, from Python and from the command line; a tracker costs no run."""

import csv
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from isthmus import Autoencoder, CSVLogger, MLflow, TensorBoard
from isthmus.cli import app
from isthmus.errors import ParameterError, UnsupportedError
from isthmus.training.trackers import TRACKERS, Tracker, callbacks_of

X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")


def model(*callbacks, **params):
    return Autoencoder(latent_dim=2, encoder="mlp", callbacks=callbacks, random_state=0, **{"max_epochs": 3, **params})


def read(path):
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_csv_has_the_history_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted = model("csv").fit(X)
    assert read(tmp_path / "history.csv") == fitted.history_
    assert [one.name for one in tmp_path.iterdir()] == ["history.csv"]


def test_checkpoints_have_a_csv_unasked_and_a_resumed_run_has_all_of_it(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        model(Stops(), checkpoint_dir=tmp_path, checkpoint_every=1).fit(X)
    assert [row["epoch"] for row in read(tmp_path / "history.csv")] == [1]
    fitted = model(checkpoint_dir=tmp_path, checkpoint_every=1).fit(X, resume=True)
    rows = read(tmp_path / "history.csv")
    assert [row["objective"] for row in rows] == [figures["objective"] for figures in fitted.history_]


class Stops(Tracker):
    """Ends a run in its second epoch, as Ctrl-C would."""

    def on_epoch_end(self, loop):
        if loop.state.epoch == 2:
            raise KeyboardInterrupt


def test_a_tracker_that_fails_is_warned_of_and_the_run_goes_on(tmp_path, caplog):
    class Full(CSVLogger):
        def tell(self, history):
            raise OSError("no space left")

    fitted = model(Full(tmp_path / "x.csv"), CSVLogger(tmp_path / "y.csv")).fit(X)
    assert caplog.text.count("Full failed and is left out from here on: OSError: no space left") == 1
    assert read(tmp_path / "y.csv") == fitted.history_
    plain = model().fit(X)
    assert np.array_equal(plain.transform(X), fitted.transform(X))


def test_tensorboard_has_each_figure(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install 'isthmus[tracking]'"
    )
    fitted = model(TensorBoard(tmp_path / "board")).fit(X)
    events = accumulator.EventAccumulator(str(tmp_path / "board")).Reload()
    for name in ("objective", "val_objective", "learning_rate"):
        told = [(event.step, event.value) for event in events.Scalars(name)]
        assert told == [(one["epoch"], pytest.approx(one[name], rel=1e-6)) for one in fitted.history_]
    assert "epoch" not in events.Tags()["scalars"]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_each_figure_in_a_file_of_sqlite(tmp_path):
    tracking = pytest.importorskip("mlflow.tracking", reason="pip install mlflow, which asks for an older pyarrow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    fitted = model(MLflow(uri, run_name="one")).fit(X)
    client = tracking.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("isthmus").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "one"
    assert run.data.params["optimizer"] == "Adam"
    told = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "objective")]
    assert told == [(one["epoch"], one["objective"]) for one in fitted.history_]


class Client:
    """Stands for MLflow's, where it is not installed."""

    def __init__(self, tracking_uri):
        self.told = Client.seen = [("uri", tracking_uri)]

    def __getattr__(self, name):
        def method(*args, **kwargs):
            self.told.append((name, args, kwargs))
            return None if name.startswith("get_") else type("Run", (), {"info": type("Info", (), {"run_id": "r"})})

        return method


def test_what_mlflow_is_told(monkeypatch):
    module = type(sys)("mlflow.tracking")
    module.MlflowClient = Client
    monkeypatch.setitem(sys.modules, "mlflow", type(sys)("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", module)
    fitted = model("mlflow").fit(X)
    assert Client.seen[0] == ("uri", "sqlite:///mlflow.db")
    metrics = [(args[1:], kwargs) for name, args, kwargs in Client.seen[1:] if name == "log_metric"]
    assert (("objective", fitted.history_[1]["objective"]), {"step": 2}) in metrics
    assert Client.seen[-1] == ("set_terminated", ("r", "FINISHED"), {})
    with pytest.raises(KeyboardInterrupt):
        model("mlflow", Stops()).fit(X)
    assert Client.seen[-1] == ("set_terminated", ("r", "FAILED"), {})


@pytest.mark.parametrize(
    ("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow.tracking")]
)
def test_a_missing_package_is_named_before_training(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnsupportedError, match=rf"{TRACKERS[name].__name__} needs {name}: pip install"):
        model(name).fit(X)


def test_a_folder_that_cannot_be_is_named_before_training(tmp_path):
    pytest.importorskip("tensorboard", reason="pip install 'isthmus[tracking]'")
    (tmp_path / "rows").touch()
    with pytest.raises(ParameterError, match=r"TensorBoard: folder cannot be written: .*File exists"):
        model(TensorBoard(tmp_path / "rows")).fit(X)


def test_names_are_checked_and_the_command_line_takes_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [type(one) for one in callbacks_of(["csv", CSVLogger("x")])] == [CSVLogger, CSVLogger]
    with pytest.raises(
        ParameterError, match=r"callbacks must hold Callback objects or names of .*'mlflow'.*got 'wandb'"
    ):
        model("wandb").fit(X)
    np.save("rows.npy", X)
    for number, given in enumerate(['["csv"]', "[CSVLogger('other.csv')]"]):
        words = ["fit", "autoencoder", "rows.npy", "--out", f"m{number}", "--set", "max_epochs=2", "--quiet"]
        assert CliRunner().invoke(app, [*words, "--set", f"callbacks={given}"]).exit_code == 0
    assert len(read(tmp_path / "history.csv")) == len(read(tmp_path / "other.csv")) == 2
