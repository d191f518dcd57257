"""``isthmus reconstruct``."""

from __future__ import annotations

from isthmus.cli.options import Data, Model, Out, Overwrite, Parts

__all__ = ["reconstruct"]


def reconstruct(model: Model, data: Data, out: Out, overwrite: Overwrite = False, parts: Parts = None) -> None:
    """Write the reconstruction of each row.

    It is in the data's units, under the names of its columns.
    """
    from isthmus.cli.arrays import check_out, columns_of, read_rows, write_rows
    from isthmus.cli.loading import load_for

    check_out(out, overwrite)
    estimator, rows = load_for(model, "reconstruct", parts), read_rows(data)
    made = estimator.reconstruct(rows)
    write_rows(made, out, overwrite, "reconstruction", columns_of(estimator, rows, made))
