"""Files as spreadsheets and data frames write them: a told delimiter, columns without a name, maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.job_types import ImportFields
from core.types import RejectedItem
from indexer.imports import FileImportReader


def read_all(path: Path) -> list[Mapping[str, Any] | RejectedItem]:
    reader = FileImportReader()
    plan = reader.plan(lambda: path.open("rb"), path.name, ImportFields())
    return list(reader.items(lambda: path.open("rb"), path.name, plan, 0))


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n", "\ufeffsep=;\n", "\nsep=;\n"])
def test_a_first_line_may_tell_the_delimiter(tmp_path: Path, first: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"{first}id;text;a,b,c,d\n1;first;x\n2;second\n".encode())
    good, bad = read_all(path)
    assert good == {"id": "1", "text": "first", "title": "", "metadata": {"a,b,c,d": "x"}}
    assert isinstance(bad, RejectedItem)
    assert bad.reason.startswith("row 2: found 2 fields, expected 3")


def test_columns_without_a_name_are_called_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(",id,text,\n0,1,first,\n1,2,second,x\n")
    metadata = [item["metadata"] for item in read_all(path) if not isinstance(item, RejectedItem)]
    assert metadata == [{"column_1": "0"}, {"column_1": "1", "column_4": "x"}]


def test_maps_of_parquet_are_objects_and_those_that_hold_a_key_twice_pairs(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    maps = pa.array([[("k", 1), ("l", 2)], [("k", 1), ("k", 2)], None], pa.map_(pa.string(), pa.int64()))
    inner = pa.array([[("n", maps[0].as_py())]] * 3, pa.map_(pa.string(), maps.type))
    columns = {"id": ["a", "b", "c"], "text": ["1", "2", "3"], "m": maps, "deep": inner}
    pq.write_table(pa.table(columns), path)
    metadata = [item["metadata"] for item in read_all(path) if not isinstance(item, RejectedItem)]
    deep = {"n": {"k": 1, "l": 2}}
    assert metadata == [
        {"m": {"k": 1, "l": 2}, "deep": deep},
        {"m": [["k", 1], ["k", 2]], "deep": deep},
        {"deep": deep},
    ]
