"""The sections, in the order of the page. Adding one: its file, its line here, its test."""

from __future__ import annotations

from collections.abc import Callable

from isthmus.report.blocks import Section
from isthmus.report.sections.alignments import alignments
from isthmus.report.sections.anomalies import anomalies
from isthmus.report.sections.denoising import denoising
from isthmus.report.sections.errors import errors
from isthmus.report.sections.features import features
from isthmus.report.sections.forecasts import forecasts
from isthmus.report.sections.jacobian import jacobian
from isthmus.report.sections.latent import latent
from isthmus.report.sections.learning import learning
from isthmus.report.sections.masks import masks
from isthmus.report.sections.posterior import posterior
from isthmus.report.sections.provenance import provenance
from isthmus.report.sections.reconstructions import reconstructions
from isthmus.report.sections.samples import samples
from isthmus.report.sections.series import series
from isthmus.report.sections.sparsity import sparsity
from isthmus.report.sections.summary import summary
from isthmus.report.sections.text_errors import text_errors
from isthmus.report.sections.texts import texts
from isthmus.report.sections.units import units
from isthmus.report.sections.walk import walk
from isthmus.report.subject import Subject

__all__ = ["SECTIONS"]

SECTIONS: tuple[Callable[[Subject], Section | None], ...] = (
    summary,
    learning,
    masks,
    reconstructions,
    series,
    forecasts,
    texts,
    errors,
    text_errors,
    alignments,
    denoising,
    anomalies,
    features,
    latent,
    units,
    sparsity,
    jacobian,
    posterior,
    samples,
    walk,
    provenance,
)
