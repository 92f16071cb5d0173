"""Files of every format become the same documents; what cannot be read says why."""

from __future__ import annotations

import csv
import gzip
import io
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
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.documents import DocumentLimits, validate_document
from core.errors import CognateError, InvalidInput
from core.job_types import ImportFields, ImportPlan
from core.ports.work import ImportReader, OpenFile
from core.types import RejectedItem
from indexer import plain_values, readers
from indexer.fields import plan_fields
from indexer.imports import FileImportReader, to_item
from indexer.plain_values import to_plain

ROWS: list[dict[str, Any]] = [
    {"id": "a", "title": "First", "text": 'Grüße, "world"\nand a second line', "year": "2020"},
    {"id": "b", "title": "", "text": "日本語のテキスト", "year": "2021"},
    {"id": "c", "title": "Third", "text": "plain", "year": ""},
]
EXPECTED = [
    {"id": "a", "title": "First", "text": ROWS[0]["text"], "metadata": {"year": "2020"}},
    {"id": "b", "title": "", "text": ROWS[1]["text"], "metadata": {"year": "2021"}},
    {"id": "c", "title": "Third", "text": "plain", "metadata": {}},
]


def separated(delimiter: str) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return file.getvalue().encode()


def parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


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


def compressed(content: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(content)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def written(folder: Path, content: bytes) -> Path:
    path = folder / "upload"
    path.write_bytes(content)
    return path


def opener(path: Path) -> OpenFile:
    return lambda: path.open("rb")


def read_all(
    path: Path, filename: str, fields: ImportFields | None = None, skip: int = 0
) -> list[Mapping[str, Any] | RejectedItem]:
    reader: ImportReader = FileImportReader()
    plan = reader.plan(opener(path), filename, fields or ImportFields())
    return list(reader.items(opener(path), filename, plan, skip))


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


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_cut_short_gives_its_first_rows_and_then_says_so(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [{"id": i, "text": rng.bytes(2000).hex()} for i in range(2000)]
    content = compressed(json_lines(rows), suffix)
    path = written(tmp_path, content[: len(content) // 2])
    plan = FileImportReader().plan(opener(path), "x.jsonl" + suffix, ImportFields())
    items = FileImportReader().items(opener(path), "x.jsonl" + suffix, plan, 0)
    seen: list[object] = []
    with pytest.raises(InvalidInput, match="damaged"):
        seen.extend(items)
    assert 100 < len(seen) < 2000


def test_zeros_after_the_end_of_a_gzip_file_are_passed_over(tmp_path: Path) -> None:
    """Tapes and block devices fill their last block, and gzip(1) takes that."""
    packed = gzip.compress(json_lines(ROWS[:1])) + gzip.compress(b"\n" + json_lines(ROWS[1:]))
    rows = read_all(written(tmp_path, packed), "x.jsonl.gz")
    assert read_all(written(tmp_path, packed + bytes(5000)), "x.jsonl.gz") == rows
    assert len(rows) == len(ROWS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed + b"more",
        lambda packed: packed + packed[:20],
        lambda packed: packed[:-6] + bytes(2) + packed[-4:],  # another checksum
        lambda packed: packed[:12] + b"\xff" * 8 + packed[20:],
        lambda packed: packed[:-1],
    ],
)
def test_a_gzip_file_with_anything_else_wrong_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = written(tmp_path, damage(gzip.compress(json_lines(ROWS))))
    with pytest.raises(InvalidInput, match="is damaged or no gzip file"):
        read_all(path, "x.jsonl.gz")


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
