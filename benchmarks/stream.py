"""A file larger than memory allows: what training on it holds in memory, and how fast it goes.

A .npy file of so many gigabytes, rows of 784 numbers, streamed for one epoch through a variational autoencoder
784-400-20 at batch 512, beside the same model on rows in memory and on a .parquet file. RssAnon, the memory of the
process that no file stands behind, is read every tenth of a second; its peak is held against what it was before `fit`.

    python benchmarks/stream.py --gigabytes 8 --threads 2 --folder /tmp

It writes ``benchmarks/results/stream.json``.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timed import CLOCKS, Epochs

from isthmus import MLPEncoder, Stream, VariationalAutoencoder
from isthmus.training.allocator import keep_freed_memory

WIDTH, PIECE = 784, 32_768


def anonymous() -> float:
    """RssAnon of this process, MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


@contextmanager
def watched() -> Iterator[list[float]]:
    """The peak of RssAnon above what it was, MB."""
    before, peak, done = anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], anonymous() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def pieces(n: int) -> Iterator[np.ndarray]:
    """Rows that depend on one another, some at a time."""
    draw = np.random.default_rng(0)
    mix = draw.normal(size=(16, WIDTH)).astype(np.float32)
    for start in range(0, n, PIECE):
        rows = draw.standard_normal((min(PIECE, n - start), 16), dtype=np.float32) @ mix
        yield 1 / (1 + np.exp(-rows))


def write_npy(path: Path, n: int) -> None:
    """The file, unless it stands there."""
    if path.exists() and path.stat().st_size > 4 * n * WIDTH:
        return
    array = np.lib.format.open_memmap(path, "w+", np.float32, (n, WIDTH))
    start = 0
    for rows in pieces(n):
        array[start : start + len(rows)] = rows
        start += len(rows)
    array.flush()


def write_parquet(path: Path, n: int) -> None:
    """As many rows as columns of a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"c{i}" for i in range(WIDTH)]
    writer = None
    for rows in pieces(n):
        table = pa.table(dict(zip(names, rows.T, strict=True)))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=8192)
    assert writer is not None
    writer.close()


def fitted(X: Any, n: int, epochs: int, clock: Callable[[], float]) -> dict[str, float]:
    """Rows a second of the last epoch, and the peak of memory."""
    timer = Epochs(clock)
    with watched() as peak:
        VariationalAutoencoder(
            encoder=MLPEncoder((400,)), latent_dim=20, loss="binary_cross_entropy", scale=None, batch_size=512,
            max_epochs=epochs, validation_fraction=0, random_state=0, callbacks=[timer],
        ).fit(X)  # fmt: skip
    return {"rows": n, "rows_a_second": n / timer.seconds[-1], "peak_megabytes_above_idle": peak[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/stream.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    options.folder.mkdir(parents=True, exist_ok=True)
    clock, n = CLOCKS[options.clock], int(options.gigabytes * 1e9 / 4 / WIDTH)
    few = min(n, 200_000)
    started = time.perf_counter()
    write_npy(options.folder / "stream.npy", n)
    write_parquet(options.folder / "stream.parquet", few)
    print(f"files written in {time.perf_counter() - started:.0f} s", flush=True)
    fitted(Stream(options.folder / "stream.npy").read(0, 4096), 4096, 1, clock)  # warms up
    result: dict[str, Any] = {"gigabytes": options.gigabytes, "threads": options.threads, "clock": options.clock}
    for name, X, rows, epochs in (
        ("npy", Stream(options.folder / "stream.npy"), n, 1),
        ("parquet", Stream(options.folder / "stream.parquet"), few, 2),
        ("resident", Stream(options.folder / "stream.npy").read(0, few), few, 2),
    ):
        result[name] = fitted(X, rows, epochs, clock)
        print(name, result[name], flush=True)
    for name in ("npy", "parquet"):
        result[name]["of_resident_speed"] = result[name]["rows_a_second"] / result["resident"]["rows_a_second"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
