"""Vector files: valid at any time, in input order."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from shortlist.cli.vectors import ROWS_PER_GROUP, Array, writer
from shortlist.errors import BadSetting, InvalidInput
from shortlist.installation import install_hint


def test_array_can_be_read_after_every_batch() -> None:
    file = io.BytesIO()
    array, expected = Array(file), np.arange(12, dtype=np.float32).reshape(4, 3)
    array.put([0], list(expected[:1]))
    assert (np.load(io.BytesIO(file.getvalue())) == expected[:1]).all()
    array.put([1, 2, 3], list(expected[1:]))
    assert (np.load(io.BytesIO(file.getvalue())) == expected).all()


def test_parquet_table_has_all_rows_of_several_row_groups(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path, count = tmp_path / "vectors.parquet", ROWS_PER_GROUP + 10
    with writer(path) as opened:
        for start in range(0, count, 50):
            indices = range(start, min(start + 50, count))
            opened.put(list(indices), [np.array([index, 0.5], np.float32) for index in indices])
    table = parquet.read_table(path)
    assert table.column("index").to_pylist() == list(range(count))
    assert table.column("embedding").to_pylist() == [[float(index), 0.5] for index in range(count)]
    assert parquet.ParquetFile(path).num_row_groups == 2


def test_parquet_error_names_the_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(BadSetting, match=re.escape(install_hint("parquet"))), writer(tmp_path / "vectors.parquet"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    path.write_text("mine")
    with pytest.raises(InvalidInput, match="already exists"), writer(path):
        pass
    assert path.read_text() == "mine"
