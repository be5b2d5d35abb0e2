"""Output of `embed`: JSON lines, a NumPy array, or a Parquet table, written batch by batch.

The file is valid at any time: an interrupted run leaves a readable file with the vectors so far.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import numpy as np
import orjson

from shortlist.cli.checkpoint import write_error
from shortlist.cli.output import to_output
from shortlist.errors import BadSetting, InvalidInput
from shortlist.installation import install_hint
from shortlist.types import Vector

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP: Final = 2048
"""Rows per Parquet row group; the writer buffers as many."""


class Writer(Protocol):
    """Writes vectors, in order."""

    def put(self, indices: Sequence[int], vectors: Sequence[Vector]) -> None:
        """Write vectors with the indices of their lines.

        Shapes:
            vectors: each [dimensions] float32.
        """
        ...


class Lines:
    """One JSON object per vector: `index` and `embedding`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def put(self, indices: Sequence[int], vectors: Sequence[Vector]) -> None:
        """Write vectors."""
        option = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        for index, vector in zip(indices, vectors, strict=True):
            self._file.write(orjson.dumps({"index": index, "embedding": vector}, option=option))
        self._file.flush()


class Array:
    """A NumPy array of [texts, dimensions] float32, which `np.load` can map into memory.

    Source: NumPy's format reserves space in the header for the number of rows to grow, so that rows can be appended.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._num_rows = 0

    def put(self, indices: Sequence[int], vectors: Sequence[Vector]) -> None:
        """Append rows, then update the row count in the header."""
        rows = np.stack(vectors).astype("<f4")
        if not self._num_rows:
            self._write_header(rows.shape[1])
        self._file.write(rows.tobytes())
        self._num_rows += len(indices)
        self._write_header(rows.shape[1])
        self._file.flush()

    def _write_header(self, width: int) -> None:
        """Write the header at the start of the file, then seek to the end."""
        self._file.seek(0)
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._num_rows, width)}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.seek(0, os.SEEK_END)


class Table:
    """A Parquet table with the columns `index` and `embedding`."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow.parquet

        self._file = file
        self._open = pyarrow.parquet.ParquetWriter
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._indices: list[int] = []
        self._vectors: list[Vector] = []

    def put(self, indices: Sequence[int], vectors: Sequence[Vector]) -> None:
        """Buffer vectors, and write them when a row group is full."""
        self._indices += indices
        self._vectors += vectors
        if len(self._indices) >= ROWS_PER_GROUP:
            self._write()

    def close(self) -> None:
        """Write the buffered rows and the footer."""
        if self._indices:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        rows = _as_table(self._indices, self._vectors)
        self._writer = self._writer or self._open(self._file, rows.schema)
        self._writer.write_table(rows)
        self._indices, self._vectors = [], []


def _as_table(indices: list[int], vectors: list[Vector]) -> pa.Table:
    import pyarrow as pa

    flat = pa.array(np.concatenate(vectors), pa.float32())
    columns = [pa.array(indices, pa.int64()), pa.FixedSizeListArray.from_arrays(flat, len(vectors[0]))]
    return pa.Table.from_arrays(columns, names=["index", "embedding"])


@contextmanager
def _parquet(file: BinaryIO) -> Iterator[Writer]:
    try:
        table = Table(file)
    except ImportError:
        raise BadSetting(
            f"Parquet needs pyarrow, which is not installed: {install_hint('parquet')}; or write .jsonl or .npy."
        ) from None
    try:
        yield table
    finally:
        table.close()


_WRITERS: Final[dict[str, Callable[[BinaryIO], AbstractContextManager[Writer]]]] = {
    ".jsonl": lambda file: nullcontext(Lines(file)),
    ".npy": lambda file: nullcontext(Array(file)),
    ".parquet": _parquet,
}


@contextmanager
def writer(path: Path | None) -> Iterator[Writer]:
    """Open the writer for the file's suffix; None writes JSON lines to standard output.

    Raises:
        InvalidInput: the file exists, or its suffix is unknown.
        BadSetting: the file cannot be written, or a library is not installed.
    """
    if path is None:
        yield Lines(to_output())
        return
    kind = _WRITERS.get(path.suffix)
    if kind is None:
        raise InvalidInput(f"{path} (--out) must end in one of {', '.join(_WRITERS)}.")
    if path.exists():
        raise InvalidInput(f"{path} (--out) already exists: remove it, or name another file.")
    try:
        with path.open("xb") as file, kind(file) as opened:
            yield opened
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        if path.exists() and not path.stat().st_size:
            path.unlink()
