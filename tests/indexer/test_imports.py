"""Files of every format become the same documents; what cannot be read says why."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.documents import DocumentLimits, validate_document
from core.errors import CognateError, InvalidInput
from core.job_types import ImportFields, ImportPlan
from core.types import RejectedItem
from indexer.fields import plan_fields
from indexer.imports import FileImportReader, to_item
from indexer.plain_values import to_plain
from tests.indexer.import_files import (
    ROWS,
    compressed,
    json_lines,
    opener,
    parquet,
    read_all,
    separated,
    written,
)

EXPECTED = [
    {"id": "a", "title": "First", "text": ROWS[0]["text"], "metadata": {"year": "2020"}},
    {"id": "b", "title": "", "text": ROWS[1]["text"], "metadata": {"year": "2021"}},
    {"id": "c", "title": "Third", "text": "plain", "metadata": {}},
]


CONTENTS: Mapping[str, Callable[[], bytes]] = {
    "rows.csv": lambda: separated(","),
    "semicolons.csv": lambda: separated(";"),
    "bom.CSV": lambda: b"\xef\xbb\xbf" + separated(","),
    "rows.tsv": lambda: separated("\t"),
    "rows.jsonl": lambda: json_lines(ROWS) + b"\n\n",
    "rows.json": lambda: json.dumps(ROWS).encode(),
    "wrapped.json": lambda: json.dumps({"documents": ROWS}).encode(),
    "rows.parquet": lambda: parquet(pd.DataFrame(ROWS)),
}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_format_gives_the_same_documents(tmp_path: Path, name: str, suffix: str) -> None:
    content = CONTENTS[name]()
    path = written(tmp_path, compressed(content, suffix) if suffix else content)
    assert read_all(path, name + suffix) == EXPECTED
    assert read_all(path, name + suffix, skip=2) == EXPECTED[2:]
    assert read_all(path, name + suffix, skip=9) == []


def test_the_guesses_are_reported(tmp_path: Path) -> None:
    plan = FileImportReader().plan(
        opener(written(tmp_path, separated(","))), "x.csv", ImportFields(text_field="text")
    )
    assert (plan.id_field, plan.text_field, plan.title_field) == ("id", "text", "title")
    assert plan.metadata_fields == ("year",)
    assert plan.guessed == ("id_field", "title_field", "metadata_fields")


def test_rows_without_an_id_column_are_numbered_the_same_after_a_resume(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"text": "one"}\n\n{"text": "two"}\n[]\n{"text": "three"}')
    everything = read_all(path, "x.jsonl")
    ids = [item["id"] for item in everything if not isinstance(item, RejectedItem)]
    assert [id_.rpartition("-")[0] for id_ in ids] == ["row-1", "row-3", "row-5"]
    for skip in range(5):
        assert read_all(path, "x.jsonl", skip=skip) == everything[skip:]


def test_rows_without_an_id_column_of_two_files_do_not_replace_each_other(tmp_path: Path) -> None:
    def ids(content: bytes) -> list[Any]:
        return [
            item["id"] for item in read_all(written(tmp_path, content), "x.csv") if isinstance(item, dict)
        ]

    first, other = ids(b"text,year\nsame,1\nsame,1\n"), ids(b"text,year\nsame,2\nother,1\n")
    assert len({*first, *other}) == 4
    assert ids(b"text,year\nsame,1\nsame,1\n") == first


@pytest.mark.parametrize(
    "header", ["\r\n\nid;text;kind", '"id";"text";"kind, or, sort, or type"', "id;text;kind, or sort"]
)
def test_the_delimiter_is_told_by_the_first_line_that_is_not_blank(tmp_path: Path, header: str) -> None:
    content = header + '\n1;one, two, three;x\n2;"b"c;y\n'
    items = read_all(written(tmp_path, content.encode()), "x.csv")
    assert isinstance(items[0], dict)
    assert (items[0]["text"], *items[0]["metadata"].values()) == ("one, two, three", "x")
    assert isinstance(items[1], RejectedItem)
    assert f"row 2, line {content.count(chr(10))}" in items[1].reason


def test_bad_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    content = b'id,text\n1,good\n2,too,many\n3\n4,"open "quote"\n5,also good\n,no id\n'
    items = read_all(written(tmp_path, content), "x.csv")
    assert [item.reason[:6] if isinstance(item, RejectedItem) else item["id"] for item in items] == [
        "1", "row 2:", "row 3:", "row 4,", "5", "row 6:"
    ]  # fmt: skip
    assert items[1] == RejectedItem(None, "row 2: found 3 fields, expected 2 as in the header")


def test_bad_lines_and_items_of_json_are_rejected_one_by_one(tmp_path: Path) -> None:
    lines = read_all(written(tmp_path, b'{"id": 1, "text": "x"}\n{"id":\n[1]\n"s"\n'), "x.jsonl")
    reasons = [item.reason for item in lines if isinstance(item, RejectedItem)]
    assert [reason.split(":")[0] for reason in reasons] == ["line 2", "line 3", "line 4"]
    assert "found an array, expected an object" in reasons[1]
    items = read_all(written(tmp_path, b'[{"id": 1, "text": "x"}, null, 3]'), "x.json")
    assert [getattr(item, "reason", "") for item in items] == [
        "", "item 2: found null, expected an object", "item 3: found a number, expected an object",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("filename", "content", "words"),
    [
        ("x.csv", b"", ["is empty"]),
        ("x.csv", b"\n\n", ["column"]),
        ("x.csv", b"id,text\n", ["no rows"]),
        ("x.csv", b"id,id,text\n1,2,3\n", ["'id'", "more than once"]),
        ("x.csv", b"id,n\n1,2\n", ["'id', 'n'", "text_field"]),
        ("x.csv", b"id,text\n1,gr\xfc\xdfe\n", ["UTF-8", "0xfc at 12"]),
        ("x.csv", "id,text\n1,x".encode("utf-16"), ["UTF-8", "0xff at 0"]),
        ("x.csv.gz", b"id,text\n1,2", ["gzip", "damaged"]),
        ("x.csv.zst", b"id,text\n1,2", ["zstd", "damaged"]),
        ("x.json", b"{", ["no valid JSON"]),
        ("x.json", b'{"id": 1}', ["an object at the top", "documents"]),
        ("x.json", b'"text"', ["a string at the top"]),
        ("x.json", b"[]", ["no rows"]),
        ("x.json", b"[" * 100_000, ["no valid JSON"]),
        ("x.jsonl", b"nonsense\nmore\n", ["line 1", "no valid JSON"]),
        ("x.parquet", b"id,text\n1,2", ["Parquet"]),
        ("x.parquet.gz", gzip.compress(b"id,text\n1,2", mtime=0), ["Parquet"]),
        ("x.xlsx", b"PK", [".csv", ".parquet", ".zst"]),
        ("noextension", b"x", [".jsonl"]),
        ("x.gz", b"x", [".jsonl"]),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_says_is_refused_with_what_was_found(
    tmp_path: Path, filename: str, content: bytes, words: list[str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_all(written(tmp_path, content), filename)
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_bad_byte_far_inside_is_located(tmp_path: Path) -> None:
    head = "text\n" + "é" * 3_000_000 + "\n"
    path = written(tmp_path, head.encode() + b"\xff\n")
    plan = FileImportReader().plan(opener(written(tmp_path, b"text\nx\n")), "x.csv", ImportFields())
    path.write_bytes(head.encode() + b"\xff\n")
    with pytest.raises(InvalidInput, match=f"0xff at {len(head.encode())} "):
        list(FileImportReader().items(opener(path), "x.csv", plan, 0))


@pytest.mark.parametrize("name", ["id_field", "text_field", "title_field"])
def test_a_named_column_that_is_missing_is_refused_with_the_columns_found(name: str) -> None:
    fields = replace(ImportFields(), **{name: "nope"})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="'nope' is not in the file; found the columns 'id', 'text'"):
        plan_fields([{"id": 1, "text": "x"}], ["id", "text"], fields)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["Doc ID", "Body", "Headline"], ("Doc ID", "Body", "Headline")),
        (["_id", "abstract", "title"], ("_id", "abstract", "title")),
        (["key", "name", "description"], ("key", "description", "name")),
        (["uuid", "long"], ("uuid", "long", None)),
        (["only"], (None, "only", None)),
        (["name"], (None, "name", None)),
    ],
)
def test_fields_are_guessed_from_names_and_lengths(
    columns: list[str], expected: tuple[str | None, str, str | None]
) -> None:
    sample = [dict.fromkeys(columns, "a value long enough for a text")]
    plan = plan_fields(sample, columns, ImportFields())
    assert (plan.id_field, plan.text_field, plan.title_field) == expected


def test_our_own_document_shape_maps_onto_itself_and_late_columns_are_kept(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "text": "x", "metadata": {"year": 1}}] * 150
    rows.append({"id": "2", "text": "y", "late": True})
    items = read_all(written(tmp_path, json_lines(rows)), "x.jsonl")
    assert items[0] == {"id": "1", "text": "x", "title": "", "metadata": {"year": 1}}
    assert items[-1] == {"id": "2", "text": "y", "title": "", "metadata": {"late": True}}


def test_lists_and_objects_are_no_text_and_truths_are_spelled_as_in_json() -> None:
    rows: list[dict[str, object]] = [
        {"id": True, "title": False, "text": 3.0},
        {"id": "a", "text": ["x", "y"]},
        {"id": "b", "text": {"a": 1}},
        {"id": [1], "text": "t"},
        {"id": "c", "title": [], "text": "t"},
        {"id": "d", "text": "whole"},
    ]
    plan = ImportPlan("id", "text", "title", (), ())
    items = [to_item(number, row, plan) for number, row in enumerate(rows)]
    assert [one["id"] for one in items if not isinstance(one, RejectedItem)] == ["true", "d"]
    assert items[0] == {"id": "true", "title": "false", "text": "3", "metadata": {}}
    assert [one.reason for one in items if isinstance(one, RejectedItem)] == [
        "row 1: column 'text' holds a list, which is no text",
        "row 2: column 'text' holds an object, which is no text",
        "row 3: column 'id' holds a list, which is no text",
        "row 4: column 'title' holds a list, which is no text",
    ]


def test_only_named_metadata_is_kept(tmp_path: Path) -> None:
    items = read_all(written(tmp_path, separated(",")), "x.csv", ImportFields(metadata_fields=()))
    assert [item["metadata"] for item in items if not isinstance(item, RejectedItem)] == [{}, {}, {}]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_a_number_that_json_does_not_have_fails_its_row_alone(tmp_path: Path, name: str, number: str) -> None:
    bad = f'{{"id": "a", "text": "t", "m": {number}}}'
    nested = f'{{"id": "b", "text": "t", "metadata": {{"m": [{number}]}}}}'
    rows = [bad, nested, '{"id": "c", "text": "NaN", "m": 1.5}']
    content = "\n".join(rows) if name == "x.jsonl" else f"[{', '.join(rows)}]"
    first, second, good = read_all(written(tmp_path, content.encode()), name)
    for row in (first, second):
        with pytest.raises(InvalidInput, match=r"'metadata\.m(\[0\])?' is .*must be finite"):
            validate_document(row, DocumentLimits())
    assert validate_document(good, DocumentLimits()).metadata == {"m": 1.5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5), (np.int8(3), 3), (np.bool_(True), True), (np.array([1, 2]), [1, 2]),
        (float("nan"), None), (np.float64("nan"), None), (pd.NaT, None), (pd.NA, None), (Decimal("1.5"), 1.5),
        (np.datetime64("NaT"), None), (np.datetime64("2024-01-02"), "2024-01-02"),
        (np.timedelta64(1, "m"), 60.0), (np.timedelta64("NaT"), None),
        (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"), (pd.Timedelta("1s"), 1.0),
        (date(2024, 1, 2), "2024-01-02"), ({1: (np.int64(2), None)}, {"1": [2, None]}), (b"text", "text"),
    ],
)  # fmt: skip
def test_values_become_plain(value: object, expected: object) -> None:
    found = to_plain(value)
    assert found == expected
    assert type(found) is type(expected)


@given(
    st.binary(max_size=300), st.sampled_from(["x.csv", "x.tsv", "x.jsonl", "x.json", "x.parquet", "x.csv.gz"])
)
def test_arbitrary_bytes_are_read_or_refused_never_an_accident(content: bytes, filename: str) -> None:
    folder = Path("fuzz")
    folder.mkdir(exist_ok=True)
    items: list[object] = []
    with suppress(CognateError):
        items.extend(read_all(written(folder, content), filename))
    assert all(isinstance(item, RejectedItem | dict) for item in items)
