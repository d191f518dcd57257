"""The application: an error is one line on stderr and exit status 2."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = ["Group", "app", "main"]


class Group(TyperGroup):
    """The commands, with errors told in one line, or as a traceback where ``--debug`` is given."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run the command line given, and exit: 0, 2 after an error, 130 where it was interrupted."""
        given = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in given
        given = [word for word in given if word != "--debug"]
        try:
            with warnings.catch_warnings():
                if not debug:
                    warnings.showwarning = _tell_warning
                status = super().main(given, "isthmus", **{**extra, "standalone_mode": False})
        except Exception as error:
            if debug:
                traceback.print_exc()
            else:
                sys.stderr.write(f"isthmus: {_one_line(error)}\n")
            sys.exit(2)
        sys.exit(status if isinstance(status, int) else 0)

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which they are used."""
        return list(self.commands)


def _tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A library's warning in one line, without the place in its source."""
    sys.stderr.write(f"isthmus: warning: {' '.join(str(message).split())}\n")


def _one_line(error: Exception) -> str:
    """What went wrong; an error that is not one of ours is told with its kind."""
    from isthmus.errors import IsthmusError

    told = getattr(error, "format_message", error.__str__)()
    line = " ".join(str(told).split())
    known = isinstance(error, IsthmusError) or hasattr(error, "format_message")
    return line if known else f"{type(error).__name__}: {line}"


app = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        from isthmus import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Encoder-decoder models from a table to a report.

    DATA is a path that ends in .npy, .npz (file.npz:name picks an array), .csv or .parquet. Results go to
    stdout or to --out, progress and errors to stderr; an error is one line and exit status 2.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """The console script."""
    app()
