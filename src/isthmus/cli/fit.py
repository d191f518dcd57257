"""``isthmus fit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import AsJson, Data, Estimator, Overwrite, Settings, Target

__all__ = ["fit", "pair_for"]


def fit(
    estimator: Estimator,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="The model's folder.", show_default=False)],
    settings: Settings = None,
    target: Target = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="DATA", help="Held-out rows, in place of a share of DATA.")
    ] = None,
    validation_target: Annotated[
        str | None, typer.Option("--validation-target", metavar="DATA", help="Their targets.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same model.")] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option("--checkpoint-dir", metavar="FOLDER", help="Where checkpoints are written as training goes on."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train ESTIMATOR on DATA and save it as the folder MODEL."""
    from isthmus.cli.arrays import check_standing
    from isthmus.cli.values import estimator_given
    from isthmus.persistence import check_path
    from isthmus.training.launching import launch

    check_standing(out, overwrite, "a model")
    check_path(out, overwrite)
    model = estimator_given(estimator, settings, seed)
    if checkpoints is not None:
        _check_apart(checkpoints, out)
        _keep_checkpoints(model, checkpoints)
    pair = pair_for(model, data, target)
    arguments = _validation(model, validation, validation_target)
    arguments |= {"resume": True} if resume else {}
    launch(_train_and_save, model, pair, arguments, quiet, out, overwrite, as_json)


def _check_apart(folder: Path, out: Path) -> None:
    """Where checkpoints stood in the model's folder, that could not be written at the end."""
    from isthmus.errors import ParameterError

    if folder.resolve().is_relative_to(out.resolve()):
        raise ParameterError(
            f"--checkpoint-dir must be another folder than --out {out} and lie outside it, got {folder}"
        )


def _keep_checkpoints(model: Any, folder: Path) -> None:
    """A detector's are its estimator's, which must be given."""
    from isthmus.errors import ParameterError

    params = model.get_params()
    name = next((name for name in ("checkpoint_dir", "estimator__checkpoint_dir") if name in params), None)
    if name is None:
        raise ParameterError("--checkpoint-dir needs an estimator by name: --set 'estimator=VariationalAutoencoder()'")
    model.set_params(**{name: str(folder)})


def _validation(model: Any, data: str | None, target: str | None) -> dict[str, Any]:
    from isthmus.errors import ParameterError

    if data is None and target is not None:
        raise ParameterError("--validation-target needs --validation, the rows whose targets they are")
    if data is None:
        return {}
    pair = pair_for(model, data, target, ("--validation", "--validation-target"))
    return {"validation_data": pair[0] if target is None else pair}


def pair_for(
    model: Any, data: str, target: str | None, names: tuple[str, str] = ("DATA", "--target")
) -> tuple[Any, Any]:
    """Rows and targets, if any; two paths of images as they are, since the model knows masks and pairs them by name.

    Labels beside X are ignored by scikit-learn's custom; a target asked for by name must not be.
    """
    from isthmus.cli.arrays import read_rows
    from isthmus.errors import DataError, ParameterError
    from isthmus.estimators import DenoisingAutoencoder
    from isthmus.images import holds_images

    if target is None:
        return read_rows(data, names[0]), None
    if not getattr(model, "takes_target", False):
        raise ParameterError(
            f"{names[1]}: {type(model).__name__} rebuilds {names[0]} itself; a denoising_autoencoder or a segmenter "
            "takes pairs"
        )
    if holds_images(data) and holds_images(target):
        return data, target
    rows, targets = read_rows(data, names[0]), read_rows(target, names[1])
    if isinstance(model, DenoisingAutoencoder) and _has_columns(rows) and not _has_columns(targets):
        raise DataError(f"{names[1]} must hold clean rows like those of {names[0]}, got one value a row")
    return rows, targets


def _has_columns(rows: Any) -> bool:
    pictures = isinstance(rows, list) and not all(isinstance(row, str) for row in rows)
    return pictures or getattr(rows, "ndim", 1) > 1


def _train_and_save(
    model: Any,
    data: tuple[Any, Any],
    arguments: dict[str, Any],
    quiet: bool,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit, by all processes that torchrun has started, of which the first saves and tells."""
    from isthmus.training.processes import current

    _train(model, data, arguments, quiet)
    if current().is_first:
        model.save(out, overwrite=overwrite)
        _tell(model, out, as_json)


def _train(model: Any, data: tuple[Any, Any], arguments: dict[str, Any], quiet: bool) -> None:
    """Fit, with a bar on stderr that is no part of the model."""
    told = not quiet and "verbose" in model.get_params(deep=False)
    before = model.get_params(deep=False).get("verbose")
    if told:
        model.set_params(verbose=True)
    try:
        model.fit(*data, **arguments)
    finally:
        if told:
            model.set_params(verbose=before)


def _tell(model: Any, out: Path, as_json: bool) -> None:
    from isthmus.cli.console import print_json

    history = getattr(model, "history_", [])
    last = history[-1] if history else {}
    if as_json:
        print_json({"model": str(out), "epochs": len(history), "last_epoch": last})
        return
    figures = [f"{name} {last[name]:.5g}" for name in ("objective", "val_objective") if name in last]
    epochs = [f"{len(history)} epochs"] if history else []
    sys.stdout.write(", ".join([f"{out}: {type(model).__name__}", *epochs, *figures]) + "\n")
