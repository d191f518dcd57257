"""``isthmus push``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isthmus.cli.options import Model, Parts

__all__ = ["push"]


def push(
    model: Model,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Of the hub: name/model.", show_default=False)],
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Rows whose figures the card shows, with a report.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A repository that is made is private.")] = False,
    revision: Annotated[str | None, typer.Option("--revision", metavar="BRANCH", help="A branch.")] = None,
    license: Annotated[str | None, typer.Option("--license", metavar="NAME", help="Such as mit.")] = None,
    parts: Parts = None,
) -> None:
    """Upload a model to the Hugging Face hub, with a card.

    The token is the one that huggingface_hub remembers (hf auth login, or HF_TOKEN).
    """
    from isthmus.cli.arrays import read_rows
    from isthmus.cli.loading import load_for

    rows = None if data is None else read_rows(data, "--data")
    estimator = load_for(model, "push_to_hub", parts)
    told = {"private": private or None, "revision": revision, "license": license}
    sys.stdout.write(estimator.push_to_hub(repo, rows, **told) + "\n")
