"""Rows that are read in blocks are the rows of the file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy import sparse

from isthmus import Stream, stream
from isthmus.errors import DataError

X = np.arange(230, dtype=np.float32).reshape(46, 5)


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return torch.from_numpy(X[i]), i % 3


def npy(folder):
    np.save(folder / "rows.npy", X)
    return Stream(folder / "rows.npy", block=7)


def npy_in_columns(folder):
    np.save(folder / "columns.npy", np.asfortranarray(X))
    return Stream(folder / "columns.npy", block=7)


def table(folder, suffix):
    frame = pa.table({f"c{i}": X[:, i] for i in range(5)})
    if suffix == "parquet":
        pq.write_table(frame, folder / "rows.parquet", row_group_size=10)
    else:
        with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, frame.schema) as writer:
            writer.write_table(frame, max_chunksize=9)
    return Stream(folder / f"rows.{suffix}", block=7)


SOURCES = {
    "npy": npy,
    "memory map": lambda folder: Stream(np.load(npy(folder).source, mmap_mode="r"), block=7),
    "npy in columns": lambda folder: npy_in_columns(folder),
    "parquet": lambda folder: table(folder, "parquet"),
    "arrow": lambda folder: table(folder, "arrow"),
    "sparse": lambda folder: Stream(sparse.csr_matrix(X), block=7),
    "dataset": lambda folder: Stream(Rows(), block=7),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_blocks_are_the_rows_in_order(kind, tmp_path):
    stream = SOURCES[kind](tmp_path)
    assert len(stream) == 46
    blocks = list(stream.blocks())
    assert [len(block) for block in blocks] == [7] * 6 + [4]
    assert np.array_equal(np.concatenate(blocks), X)
    assert np.array_equal(stream.read(8, 33), X[8:33])


def test_blocks_of_a_table_are_whole_row_groups(tmp_path, monkeypatch):
    path = table(tmp_path, "parquet").source
    assert Stream(path).block == 46  # 4 MB would hold more rows than there are
    monkeypatch.setattr(stream, "BLOCK", 20 * 25)
    assert Stream(path).block == 20  # two groups of 10 rows of 20 bytes; 25 rows would cut the third
    monkeypatch.setattr(stream, "BLOCK", 20 * 5)
    assert Stream(path).block == 10


def test_row_groups_that_are_too_large_are_named_with_what_mends_them(tmp_path, monkeypatch):
    path = table(tmp_path, "parquet").source
    monkeypatch.setattr(stream, "GROUP", 100)
    monkeypatch.setattr(stream, "BLOCK", 60)
    with pytest.warns(UserWarning, match="holds 10 rows .* for each block of 3; .* row groups of at most 5 rows"):
        assert Stream(path).block == 3


def test_columns_of_a_table(tmp_path):
    table(tmp_path, "parquet")
    stream = Stream(tmp_path / "rows.parquet", columns=["c3", "c1"])
    assert np.array_equal(stream.read(5, 25), X[5:25, [3, 1]])


def test_a_folder_of_images(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    assert np.array_equal(Stream(tmp_path).read(1, 4), pictures[1:4])


def test_a_sample_is_spread_evenly():
    rows = Stream(np.arange(10_000.0)[:, np.newaxis]).sample(640)
    assert rows.shape == (640, 1)
    assert rows.min() == 0
    assert rows.max() == 9999
    assert abs(rows.mean() - 4999.5) < 10


class RowsOfSeveralSizes(Rows):
    def __getitem__(self, i):
        return X[i, : 3 + (i > 0)]


def cut(stream):
    """The same file, of which an end is missing."""
    stream.source.write_bytes(stream.source.read_bytes()[:-20])
    return Stream(stream.source)


def dated(folder):
    pq.write_table(pa.table({"x": X[:, 0], "at": np.arange(46).astype("datetime64[s]")}), folder / "rows.parquet")
    return Stream(folder / "rows.parquet")


BAD = {
    "suffix": (lambda p: Stream(p / "rows.txt"), "a path must end in one of"),
    "no file": (lambda p: Stream(p / "rows.npy"), "no such file"),
    "one row": (lambda p: Stream(X[:1]), "at least 2 rows, got 1"),
    "kind": (lambda p: Stream(iter(X)), "something of n rows that can be cut"),
    "block": (lambda p: Stream(X, block=0), "block must be a whole number of at least 1, got 0"),
    "window": (lambda p: Stream(X, window=2.5), "window must be a whole number"),
    "columns": (lambda p: Stream(X, columns=["a"]), "columns must be None unless"),
    "columns of an array": (lambda p: (npy(p), Stream(p / "rows.npy", columns=["a"])), "columns must be None unless"),
    "one column": (lambda p: Stream(p / "rows.parquet", columns="c1"), "a list of different names, got 'c1'"),
    "no columns": (lambda p: Stream(p / "rows.parquet", columns=[]), r"a list of different names, got \[\]"),
    "no block": (lambda p: Stream(X).blocks(-1), "size must be a whole number of at least 1, got -1"),
    "no rows": (lambda p: Stream(np.array(3.0)), r"must have rows, got the shape \(\)"),
    "a number": (lambda p: (np.save(p / "one.npy", 3.0), Stream(p / "one.npy")), r"one.npy must hold rows"),
    "empty rows": (lambda p: Stream(X[:, :0]), r"rows must not be empty, got the shape \(0,\)"),
    "names": (lambda p: Stream({"a": X, "b": X}), "a Dataset with a length, got dict"),
    "several sizes": (
        lambda p: Stream(RowsOfSeveralSizes()).read(0, 3),
        r"items must have one size, got \[\(3,\), \(4,\)\]",
    ),
    "cut": (lambda p: cut(npy(p)), "cannot read .*rows.npy: mmap length is greater"),
    "cut table": (lambda p: cut(table(p, "parquet")), "cannot read .*rows.parquet: "),
    "cut arrow": (lambda p: cut(table(p, "arrow")), "cannot read .*rows.arrow: "),
    "dates": (lambda p: dated(p), r"rows.parquet has dates or times in \['at'\]"),
    "unknown column": (lambda p: (table(p, "parquet"), Stream(p / "rows.parquet", columns=["c9"])), "has no columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_stream_is_named(case, tmp_path):
    call, said = BAD[case]
    with pytest.raises(DataError, match=said):
        call(tmp_path)
