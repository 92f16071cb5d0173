"""Parquet: types that JSON does not have, cells that are no text, columns that nobody asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InvalidInput
from core.job_types import ImportFields
from core.types import RejectedItem
from indexer import plain_values, readers
from indexer.imports import FileImportReader
from tests.indexer.import_files import (
    opener,
    parquet,
    read_all,
    written,
)


def test_whole_decimals_of_parquet_stay_exact(tmp_path: Path) -> None:
    ids = [2**53, 2**53 + 1, 10**19 + 1]
    numbers = [Decimal(2**53 + 1), Decimal("1.50"), Decimal("-0.00")]
    table = pa.table({
        "id": pa.array(map(Decimal, ids), pa.decimal128(38, 0)), "text": ["a", "b", "c"],
        "n": pa.array(numbers, pa.decimal128(20, 2)),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "upload")
    items = read_all(tmp_path / "upload", "x.parquet")
    assert [item["id"] for item in items if not isinstance(item, RejectedItem)] == list(map(str, ids))
    found = [item["metadata"]["n"] for item in items if not isinstance(item, RejectedItem)]
    assert [(type(n), n) for n in found] == [(int, 2**53 + 1), (float, 1.5), (int, 0)]


def test_parquet_types_become_plain_json(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "id": [1, 2], "text": ["a", "b"], "when": pd.Series([pd.Timestamp("2024-01-02"), pd.NaT]),
        "x": [1.5, np.nan], "n": pd.array([3, None], dtype="Int64"), "tags": [["u", "v"], []],
        "flag": [True, False],
    })  # fmt: skip
    items = read_all(written(tmp_path, parquet(frame)), "x.parquet")
    json.dumps(items, allow_nan=False)
    assert items[0] == {
        "id": "1", "text": "a", "title": "",
        "metadata": {"when": "2024-01-02T00:00:00", "x": 1.5, "n": 3, "tags": ["u", "v"], "flag": True},
    }  # fmt: skip
    assert items[1] == {"id": "2", "text": "b", "title": "", "metadata": {"tags": [], "flag": False}}


def test_bytes_that_are_no_text_reject_their_row_alone(tmp_path: Path) -> None:
    table = pa.table({"id": ["1", "2"], "text": ["a", "b"], "blob": [b"ok", b"\xff"]})
    pq.write_table(table, tmp_path / "upload")
    items = read_all(tmp_path / "upload", "x.parquet")
    assert isinstance(items[1], RejectedItem)
    assert items[1].reason == (
        "row 2: column 'blob': found bytes that are no UTF-8 text (0xff at 0); leave 'blob' out: name the"
        " columns to keep as metadata in metadata_fields"
    )


def with_blobs(path: Path, *blobs: bytes) -> Path:
    """Rows of id, text and cat beside a column of these."""
    count = len(blobs)
    table = {"id": [str(i) for i in range(count)], "text": ["a"] * count, "cat": ["x"] * count}
    pq.write_table(pa.table({**table, "bin": list(blobs)}), path / "upload")
    return path / "upload"


@pytest.mark.parametrize("text_field", ["text", None])
def test_a_column_that_nobody_asked_for_may_hold_anything(tmp_path: Path, text_field: str | None) -> None:
    path = with_blobs(tmp_path, b"\xff", b"ok", b"\xfe")
    fields = ImportFields("id", text_field, metadata_fields=("cat",))
    expected = [{"id": str(i), "text": "a", "title": "", "metadata": {"cat": "x"}} for i in range(3)]
    assert read_all(path, "x.parquet", fields) == expected
    path = with_blobs(tmp_path, b"\xff", b"\xff")
    assert read_all(path, "x.parquet", fields) == expected[:2]
    deep = "[" * 40 + "]" * 40
    path = written(tmp_path, f'{{"id": "0", "text": "a", "cat": "x", "deep": {deep}}}'.encode())
    assert read_all(path, "x.jsonl", fields) == expected[:1]


def test_a_column_of_which_no_cell_can_be_read_is_named_at_once(tmp_path: Path) -> None:
    path = with_blobs(tmp_path, b"\xff", b"\xff")
    with pytest.raises(InvalidInput, match=r"no readable row: row 1: column 'bin': .*; leave 'bin' out"):
        read_all(path, "x.parquet")
    with pytest.raises(InvalidInput, match=r"row 1: column 'bin': found bytes .* \(0xff at 0\)$"):
        read_all(path, "x.parquet", ImportFields(text_field="bin"))


def test_only_the_columns_that_are_used_are_read_from_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table: dict[str, list[Any]] = {"id": ["1"], "text": ["a"]} | {
        "a": [{"p": 1, "q": [2, 3]}],
        "a.p": ["dot"],
        "big": ["x" * 1000],
    }
    pq.write_table(pa.table(table), tmp_path / "upload")
    opened = opener(tmp_path / "upload")
    for names in (["text", "a"], ["id", "a.p"]):
        [(number, row)] = readers.open_rows(opened, "x.parquet", columns=names)
        assert number == 1
        assert isinstance(row, Mapping)
        assert {name: row[name] for name in names} == {name: table[name][0] for name in names}
        assert "big" not in row
    fields = ImportFields("id", "text", metadata_fields=("a.p", "a"))
    plan = FileImportReader().plan(opened, "x.parquet", fields)
    monkeypatch.setattr(plain_values, "MAX_ROW_CHARACTERS", 100)  # of all columns the row were too long
    [item] = FileImportReader().items(opened, "x.parquet", plan, 0)
    assert item == {
        "id": "1",
        "text": "a",
        "title": "",
        "metadata": {"a.p": "dot", "a": {"p": 1, "q": [2, 3]}},
    }


def test_columns_that_are_not_read_make_no_smaller_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PARQUET_BATCH_BYTES", 10_000)
    table = pa.table({"text": [f"text {i}" for i in range(50)], "big": [f"{i}" * 5000 for i in range(50)]})
    pq.write_table(table, tmp_path / "upload", compression=None, use_dictionary=False)
    batches: list[int] = []
    iterate = pq.ParquetFile.iter_batches

    def counted(parquet: Any, **options: Any) -> Any:
        batches.append(options["batch_size"])
        return iterate(parquet, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    for columns in (None, ["text"]):
        assert (
            sum(1 for _ in readers.open_rows(opener(tmp_path / "upload"), "x.parquet", columns=columns)) == 50
        )
    assert batches[0] == 1
    assert batches[1] >= 50
