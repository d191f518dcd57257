"""What sections read of a model and its rows."""

from __future__ import annotations

import numpy as np

from isthmus import Autoencoder, MLPEncoder
from isthmus.report import write_report
from isthmus.report.labels import read_labels
from isthmus.report.rows import every
from isthmus.report.subject import Subject


def test_errors_are_against_the_rows_or_the_clean_ones(trained):
    model, rows, _ = trained["denoising"]
    subject = Subject(model, rows)
    np.testing.assert_allclose(subject.errors, np.square(model.reconstruct(rows) - rows).sum(1), rtol=1e-5)
    clean = Subject(model, rows, np.zeros_like(rows))
    assert clean.labels is None
    np.testing.assert_allclose(clean.errors, np.square(model.reconstruct(rows)).sum(1), rtol=1e-5)


def test_best_epoch_is_the_one_whose_weights_are_kept(trained):
    model, rows, _ = trained["vanilla"]
    values = [row["val_objective"] for row in model.history_]
    assert Subject(model, rows).best_epoch == values.index(min(values)) + 1


def test_after_more_of_partial_fit_the_last_epoch_is_what_the_model_has(tmp_path):
    rows = np.random.default_rng(0).random((60, 8), dtype=np.float32)
    model = Autoencoder(latent_dim=2, encoder=MLPEncoder([8]), max_epochs=3, random_state=0).fit(rows)
    model.partial_fit(rows)
    assert Subject(model, rows).best_epoch == 4
    page = write_report(model, rows, tmp_path / "page.html").read_text()
    assert "No rows were held out at the end" in page


def test_penalties_are_those_that_were_fitted(trained):
    model, rows, _ = trained["sparse_kl"]
    fitted = model.get_params()["rho"]
    model.set_params(rho=0.3, penalties=["l2_weights"])
    penalties = Subject(model, rows).penalties
    model.set_params(rho=fitted, penalties=())
    assert list(penalties) == ["kl_sparsity"]
    assert penalties["kl_sparsity"].rho == fitted


def test_few_values_are_classes_and_many_numbers_a_scale():
    assert read_labels(np.array([2, 0, 2])).names == ("0", "2")
    np.testing.assert_array_equal(read_labels(np.array([2, 0, 2])).codes, [1, 0, 1])
    assert read_labels(np.array(["b", "a"])).names == ("a", "b")
    assert read_labels(np.linspace(0, 1, 20)).names == ()


def test_the_rarest_of_many_names_are_other():
    values = np.array([f"kind {index:02}" for index in range(12) for _ in range(12 - index)])
    labels = read_labels(values)
    assert labels.names == (*[f"kind {index:02}" for index in range(9)], "other")
    np.testing.assert_array_equal(np.bincount(labels.codes), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3 + 2 + 1])


def test_every_spreads_evenly_from_first_to_last():
    np.testing.assert_array_equal(every(9, 3), [0, 4, 8])
    np.testing.assert_array_equal(every(2, 5), [0, 1])
