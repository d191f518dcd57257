"""``isthmus transform``."""

from __future__ import annotations

from isthmus.cli.options import Data, Model, Out, Overwrite, Parts

__all__ = ["transform"]


def transform(model: Model, data: Data, out: Out, overwrite: Overwrite = False, parts: Parts = None) -> None:
    """Write the code of each row."""
    from isthmus.cli.arrays import check_out, read_rows, write_rows
    from isthmus.cli.loading import load_for

    check_out(out, overwrite)
    estimator = load_for(model, "transform", parts)
    codes = estimator.transform(read_rows(data))
    write_rows(codes, out, overwrite, "codes", list(estimator.get_feature_names_out()))
