"""The command line: one file a command, heavy imports inside them, so that ``--help`` is quick.

Adding a command: its file, its line here, its test.
"""

from __future__ import annotations

from isthmus.cli import (
    export,
    fit,
    info,
    listing,
    predict,
    profile,
    push,
    reconstruct,
    report,
    sample,
    score,
    search,
    transform,
)
from isthmus.cli.app import app, main

__all__ = ["app", "main"]

app.command("fit")(fit.fit)
app.command("search")(search.search)
app.command("transform")(transform.transform)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("score")(score.score)
app.command("predict")(predict.predict)
app.command("sample")(sample.sample)
app.command("report")(report.report)
app.command("profile")(profile.profile)
app.command("export")(export.export)
app.command("push")(push.push)
app.command("info")(info.info)
app.command("list")(listing.listing)
