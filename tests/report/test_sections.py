"""The numbers behind the pictures."""

from __future__ import annotations

import numpy as np
import torch

from isthmus.report import Note, Picture, Subject, Table
from isthmus.report.blocks import short
from isthmus.report.plots import png, style
from isthmus.report.sections.denoising import denoising
from isthmus.report.sections.jacobian import _jacobians, jacobian
from isthmus.report.sections.posterior import active_units, posterior
from isthmus.report.sections.sparsity import sparsity
from isthmus.report.sections.summary import summary
from isthmus.report.sections.units import _decoded, _weighted


def of(trained, name, **more):
    model, rows, _ = trained[name]
    return Subject(model, rows, **more)


def test_the_table_of_figures_tells_the_models_numbers(trained):
    subject = of(trained, "variational")
    (table, _) = [block for block in summary(subject).blocks if isinstance(block, Table)]
    figures = {row[0]: row for row in table.rows}
    rows = subject.rows
    error = np.square(subject.line.reconstruct(rows) - rows).sum(1).mean()
    assert figures["squared error"][1] == short(error)
    assert figures["ELBO"][1] == short(subject.line.elbo(rows).mean())
    assert "nats" in figures["ELBO"][2]
    assert all(row[2] for row in table.rows)  # every figure has a unit


def test_the_jacobian_is_that_of_finite_differences(trained):
    subject = of(trained, "contractive")
    found = _jacobians(subject, np.array([3]))[0]
    x = torch.from_numpy(subject.module.scale(torch.from_numpy(subject.rows[3:4]))[0].numpy())
    step, columns = 1e-2, []
    for pixel in range(x.shape[1]):
        ends = []
        for sign in (1, -1):
            moved = x.clone()
            moved[0, pixel] += sign * step
            with torch.no_grad():
                ends.append(subject.module.encode(_batch(moved), noise=torch.zeros_like, scaled=True)[2].z[0])
        columns.append((ends[0] - ends[1]) / (2 * step))
    np.testing.assert_allclose(found, torch.stack(columns, 1).numpy(), atol=2e-3)
    assert jacobian(of(trained, "vanilla")) is None


def _batch(x):
    from isthmus import Batch

    return Batch(x)


def test_kl_and_active_units_are_the_models(trained):
    subject = of(trained, "variational")
    mean, _ = subject.line.posterior(subject.rows)
    trace = subject.module(subject.batch(np.arange(len(subject))), corrupt=False, noise=torch.zeros_like)
    said = next(block for block in posterior(subject).blocks if isinstance(block, Note)).text
    assert f"{(mean.var(0) > 0.01).sum()} of 2 units are active" in said
    assert f"= {short(float(trace.latent.kl.detach().sum(1).mean()))} nats" in said
    np.testing.assert_array_equal(active_units(subject), np.argsort(-mean.var(0)))


def test_sparsity_names_rho_and_what_was_reached(trained):
    subject = of(trained, "sparse_kl")
    said = next(block for block in sparsity(subject).blocks if isinstance(block, Note)).text
    assert "ρ = 0.1" in said
    assert f"is {subject.line.mean_activations(subject.rows).mean():.3g}," in said
    assert sparsity(of(trained, "vanilla")) is None


def test_a_units_response_is_a_correlation_and_its_effect_a_difference(trained):
    subject = of(trained, "table")
    z, rows = subject.units, subject.rows
    weighted = _weighted(subject, (z - z.mean(0)) / z.std(0)) / subject.spread
    np.testing.assert_allclose(weighted[1, 4], np.corrcoef(z[:, 1], rows[:, 4])[0, 1], atol=1e-6)
    step = np.array([[0.0, z[:, 1].std()]])
    ends = [subject.decode(z.mean(0) + sign * step)[0] for sign in (1, -1)]
    np.testing.assert_allclose(_decoded(subject, np.array([1]), z.std(0)[1:])[0], (ends[0] - ends[1]) / 2, atol=1e-4)


def test_pairs_of_the_user_make_the_triplets(trained):
    model, clean, _ = trained["denoising"]
    noisy = clean + 0.5
    with style():
        section = denoising(Subject(model, noisy, clean))
    assert section.blocks[0].text.startswith("The damage is 0.5 units of X (root mean square), and ")


def test_a_picture_is_a_png_too(trained):
    with style():
        section = posterior(of(trained, "variational"))
    picture = next(block for block in section.blocks if isinstance(block, Picture))
    assert png(picture.figure, dpi=50).startswith(b"\x89PNG")


def test_numbers_for_reading():
    assert [short(value) for value in (0.0, 1234.5678, 12345.6, -0.00123456)] == ["0", "1,235", "12,346", "−0.001235"]
