"""``isthmus predict``."""

from __future__ import annotations

from isthmus.cli.options import Data, Model, Out, Overwrite, Parts

__all__ = ["predict"]


def predict(model: Model, data: Data, out: Out, overwrite: Overwrite = False, parts: Parts = None) -> None:
    """Write the prediction for each row.

    An anomaly detector gives 1, or -1 for an outlier; other models may not predict.
    """
    from isthmus.cli.arrays import check_out, columns_of, read_rows, write_rows
    from isthmus.cli.loading import load_for

    check_out(out, overwrite)
    estimator, rows = load_for(model, "predict", parts), read_rows(data)
    made = estimator.predict(rows)
    write_rows(made, out, overwrite, "prediction", columns_of(estimator, rows, made))
