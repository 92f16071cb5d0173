"""What is too large, too deep or cannot be stored is refused alone, in bounded memory, with the limit."""

from __future__ import annotations

import errno
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InvalidInput, StorageFull, TooLarge
from core.job_types import ImportFields
from core.types import RejectedItem
from indexer import csv_records, imports, json_items, plain_values, readers, spool
from indexer.fields import plan_fields
from indexer.imports import FileImportReader
from indexer.plain_values import MAX_COLUMNS, MAX_DEPTH, MAX_NAME_CHARACTERS, to_plain
from indexer.spool import Spool
from tests.indexer.import_files import opener, read_all, written

MIB = 1024 * 1024


@pytest.fixture
def short_rows(monkeypatch: pytest.MonkeyPatch) -> int:
    """The limit of a row, made small."""
    for module in (plain_values, csv_records, readers):
        monkeypatch.setattr(module, "MAX_ROW_CHARACTERS", 100)
    return 100


def outcome(items: list[Any]) -> list[str]:
    """Ids of documents, and what is wrong with the others."""
    return [
        item.reason.split(" characters")[0] if isinstance(item, RejectedItem) else item["id"]
        for item in items
    ]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_values_nested_to_the_limit_become_plain_and_deeper_ones_say_the_limit() -> None:
    assert to_plain(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 5000):
        with pytest.raises(ValueError, match="deeper than 16"):
            to_plain(nested(depth))


@pytest.mark.parametrize("depth", [20, 900, 100_000])
def test_a_row_nested_too_deep_is_rejected_alone(tmp_path: Path, depth: int) -> None:
    deep = '{"id": "2", "text": "b", "x": ' + "[" * depth + "]" * depth + "}"
    content = f'{{"id": "1", "text": "a"}}\n{deep}\n{{"id": "3", "text": "c"}}\n'
    items = read_all(written(tmp_path, content.encode()), "x.jsonl")
    assert [isinstance(item, RejectedItem) for item in items] == [False, True, False]


@pytest.mark.parametrize("bad", ["\\ud800", "\\u0000"])
def test_a_column_name_that_cannot_be_stored_rejects_its_row_and_stays_out_of_the_plan(
    tmp_path: Path, bad: str
) -> None:
    content = f'{{"id": "1", "text": "a", "x{bad}": 1}}\n{{"id": "2", "text": "b", "y": 1}}\n'
    path = written(tmp_path, content.encode())
    plan = FileImportReader().plan(opener(path), "x.jsonl", ImportFields())
    assert plan.metadata_fields == ("y",)
    items = read_all(path, "x.jsonl")
    assert isinstance(items[0], RejectedItem)
    assert "column name" in items[0].reason
    items[0].reason.encode()
    assert outcome(items[1:]) == ["2"]


def test_a_header_with_a_name_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        read_all(written(tmp_path, b"text,a\0b\n1,2\n"), "x.csv")


def test_a_header_of_very_many_columns_is_refused_at_once_with_the_limit(tmp_path: Path) -> None:
    header = ",".join(f"column {i}" for i in range(200_000))
    started = time.process_time()
    with pytest.raises(TooLarge, match=r"200,000 columns; the limit is 2,000"):
        read_all(written(tmp_path, f"{header}\n1\n".encode()), "x.csv")
    assert time.process_time() - started < 5


def test_columns_of_all_rows_together_are_limited(tmp_path: Path) -> None:
    rows = [{"text": "t", **{f"{row}-{i}": i for i in range(MAX_COLUMNS // 2)}} for row in range(3)]
    content = "\n".join(map(json.dumps, rows)).encode()
    with pytest.raises(TooLarge, match="3,001 columns"):
        read_all(written(tmp_path, content), "x.jsonl")


def test_a_row_with_a_very_long_column_name_is_rejected_alone(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "t", "x" * (MAX_NAME_CHARACTERS + 1): 1}, {"id": "2", "text": "t"}]
    items = read_all(written(tmp_path, "\n".join(map(json.dumps, rows)).encode()), "x.jsonl")
    assert outcome(items)[1] == "2"
    assert "501" in outcome(items)[0]


def test_very_many_named_metadata_columns_are_checked_in_linear_time() -> None:
    columns = [f"c{i}" for i in range(MAX_COLUMNS)]
    started = time.process_time()
    plan = plan_fields([{}], columns, ImportFields(None, "c0", None, tuple(columns[1:]) * 100))
    assert plan.metadata_fields == tuple(columns[1:])
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("filename", "long_row"),
    [
        ("x.jsonl", '{"id": "2", "text": "%s"}' % ("x" * 1000)),
        ("x.csv", "2," + "x" * 1000),
        ("x.csv", '2,"' + "x, " * 30 + "\n" * 50 + '"" and\n"'),
        ("x.csv", '2,"' + "x" * 300 + "\n" + "y\n" * 50 + '"'),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("short_rows")
def test_a_row_that_is_too_long_is_rejected_alone(tmp_path: Path, filename: str, long_row: str) -> None:
    rows = ['{"id": "1", "text": "a"}', long_row, '{"id": "3", "text": "c"}']
    if filename == "x.csv":
        rows = ["id,text", "1,a", long_row, "3,c"]
    items = read_all(written(tmp_path, "\n".join(rows).encode()), filename)
    ids = outcome(items)
    assert (ids[0], ids[2], len(ids)) == ("1", "3", 3)
    assert "longer than" in ids[1]


@pytest.mark.usefixtures("short_rows")
def test_a_quotation_mark_that_is_never_closed_is_told_once_it_takes_too_much(tmp_path: Path) -> None:
    path = written(tmp_path, b'id,text\n1,a\n2,"' + b"x\n" * 200)
    plan = FileImportReader().plan(opener(written(tmp_path, b"id,text\n1,a\n")), "x.csv", ImportFields())
    path.write_bytes(b'id,text\n1,a\n2,"' + b"x\n" * 200)
    items = FileImportReader().items(opener(path), "x.csv", plan, 0)
    assert outcome([next(items)]) == ["1"]
    with pytest.raises(InvalidInput, match="never closed"):
        next(items)


@pytest.mark.usefixtures("short_rows")
def test_parquet_rows_that_are_too_long_are_rejected_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": ["a", "x" * 200, "c"]}), tmp_path / "upload")
    ids = outcome(read_all(tmp_path / "upload", "x.parquet"))
    assert (ids[0], ids[2]) == ("1", "3")
    assert ids[1].startswith("row 2: longer than")


def test_the_sample_ends_after_so_many_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "SAMPLE_CHARACTERS", 50)
    rows = [{"text": "x" * 40}, {"text": "x" * 40}, {"text": "x", "late": 1}]
    path = written(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    assert FileImportReader().plan(opener(path), "x.jsonl", ImportFields()).metadata_fields == ()


@pytest.mark.parametrize("filename", ["x.json", "x.json.gz"])
def test_a_json_array_is_read_in_memory_for_one_item_not_for_the_file(tmp_path: Path, filename: str) -> None:
    item = json.dumps({"id": "1", "text": "x" * 4000})
    content = ("[" + ",\n".join([item] * 10_000) + "]").encode()
    path = written(tmp_path, gzip.compress(content, 1) if filename.endswith(".gz") else content)
    del content
    tracemalloc.start()
    try:
        assert sum(1 for _ in readers.open_rows(opener(path), filename)) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


def test_an_item_of_a_json_array_that_never_ends_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_items, "MAX_ITEM_CHARACTERS", 4 * MIB)
    path = written(tmp_path, gzip.compress(b'["' + b"x" * (64 * MIB) + b'"]'))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=r"character 1 is longer than 4,194,304"):
            read_all(path, "x.json.gz")
        assert tracemalloc.get_traced_memory()[1] < 48 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filename", ["x.csv.gz", "x.jsonl.gz"])
@pytest.mark.parametrize("unit", [b"\n", b"x"])
def test_a_packed_file_that_unpacks_without_end_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: str, unit: bytes
) -> None:
    monkeypatch.setattr(imports, "SAMPLE_BYTES", 2 * MIB)
    path = written(tmp_path, gzip.compress(unit * (12 * MIB)))
    tracemalloc.start()
    try:
        with pytest.raises((TooLarge, InvalidInput)):
            read_all(path, filename)
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


def test_reading_ends_at_the_limit_of_unpacked_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, gzip.compress(b"text\n" + b"row\n" * MIB))
    plan = FileImportReader().plan(opener(path), "x.csv.gz", ImportFields())
    assert plan.text_field == "text"
    rows = readers.open_rows(opener(path), "x.csv.gz", max_bytes=2 * MIB)
    with pytest.raises(TooLarge, match="2 MiB"):
        list(rows)


PACKINGS = {".gz": "gzip", ".zst": "zstd"}


def packed_file(tmp_path: Path, content: bytes, suffix: str) -> Path:
    with pa.CompressedOutputStream(str(tmp_path / "upload"), PACKINGS[suffix]) as stream:
        stream.write(content)
    return tmp_path / "upload"


def small_parquet(tmp_path: Path) -> bytes:
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["x", "y"]}), tmp_path / "plain")
    return (tmp_path / "plain").read_bytes()


@pytest.fixture
def written_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the blocks that are unpacked to disk."""
    sizes: list[int] = []
    write_all = spool._write_all

    def counted(file: Any, block: bytes) -> None:
        sizes.append(len(block))
        write_all(file, block)

    monkeypatch.setattr(spool, "_write_all", counted)
    return sizes


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("content", [bytes(64 * MIB), b"PAR", b""], ids=["zeros", "short", "nothing"])
def test_what_is_packed_and_does_not_begin_like_parquet_is_refused_before_a_byte_is_written(
    tmp_path: Path, written_bytes: list[int], suffix: str, content: bytes
) -> None:
    path = packed_file(tmp_path, content, suffix)
    with pytest.raises(InvalidInput, match="PAR1"):
        read_all(path, "x.parquet" + suffix)
    assert written_bytes == []


def test_packed_parquet_is_unpacked_to_its_limit_and_the_refusal_names_it(
    tmp_path: Path, written_bytes: list[int]
) -> None:
    path = packed_file(tmp_path, b"PAR1" + bytes(64 * MIB), ".gz")
    reader = FileImportReader(Spool(tmp_path, 2 * MIB, "COGNATE_MAX_UPLOAD_BYTES"))
    with pytest.raises(TooLarge, match="2,097,152 bytes, COGNATE_MAX_UPLOAD_BYTES; split it"):
        reader.plan(opener(path), "x.parquet.gz", ImportFields())
    assert sum(written_bytes) <= 2 * MIB


@pytest.mark.parametrize("suffix", PACKINGS)
def test_packed_parquet_at_its_limit_is_read_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    content = small_parquet(tmp_path)
    path = packed_file(tmp_path, content, suffix)
    folder = tmp_path / "data"
    folder.mkdir()
    reader = FileImportReader(Spool(folder, len(content)))
    plan = reader.plan(opener(path), "x.parquet" + suffix, ImportFields())
    items = list(reader.items(opener(path), "x.parquet" + suffix, plan, 0))
    assert outcome(items) == ["1", "2"]
    assert list(folder.iterdir()) == []
    with pytest.raises(TooLarge):
        replace(reader, spool=Spool(folder, len(content) - 1)).plan(
            opener(path), "x.parquet" + suffix, ImportFields()
        )


def test_packed_parquet_is_unpacked_in_the_folder_it_is_told(tmp_path: Path) -> None:
    path = packed_file(tmp_path, small_parquet(tmp_path), ".gz")
    reader = FileImportReader(Spool(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="gone"):
        reader.plan(opener(path), "x.parquet.gz", ImportFields())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_of_when_parquet_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(file: Any, block: bytes) -> None:
        raise OSError(error, "no room")

    monkeypatch.setattr(spool, "_write_all", refuse)
    path = packed_file(tmp_path, small_parquet(tmp_path), ".gz")
    with pytest.raises(StorageFull, match="COGNATE_DATA_DIR"):
        read_all(path, "x.parquet.gz")


def test_parquet_that_says_it_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_UNPACKED_BYTES", 100)
    pq.write_table(pa.table({"text": ["x" * 500]}), tmp_path / "upload")
    with pytest.raises(TooLarge, match="unpacked"):
        read_all(tmp_path / "upload", "x.parquet")


def repeated_cell() -> pa.Table:
    return pa.table({"id": [str(i) for i in range(200)], "text": ["x" * MIB] * 200})


def repeated_item() -> pa.Table:
    return pa.table({"id": [str(i) for i in range(200)], "text": ["t"] * 200, "n": [["x" * MIB]] * 200})


def repeated_large_cell() -> pa.Table:
    """One text of more bytes than dictionaries are read of, in every row."""
    indices = pa.array([0] * 200, pa.int32())
    cells = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * (17 * MIB)]))
    return pa.table({"id": [str(i) for i in range(200)], "text": cells})


@pytest.mark.slow
def test_parquet_of_one_large_text_in_every_row_is_read_in_memory_for_a_few_rows(tmp_path: Path) -> None:
    pq.write_table(
        repeated_large_cell(),
        tmp_path / "upload",
        compression="zstd",
        dictionary_pagesize_limit=1 << 30,
        store_schema=False,  # which would have it read as a dictionary
    )
    assert (tmp_path / "upload").stat().st_size < MIB
    assert most_allocated(tmp_path / "upload") < 160 * MIB


def most_allocated(path: Path) -> int:
    """Bytes that the library held at most between two rows."""
    pool = pa.system_memory_pool()
    pa.set_memory_pool(pool)
    before = int(pool.bytes_allocated())
    rows = readers.open_rows(opener(path), "x.parquet")
    return max(int(pool.bytes_allocated()) - before for _ in rows)


@pytest.mark.parametrize("table", [repeated_cell, repeated_item])
def test_parquet_of_huge_cells_is_read_in_bounded_memory(
    tmp_path: Path, table: Callable[[], pa.Table]
) -> None:
    pq.write_table(table(), tmp_path / "upload", compression="zstd")
    assert (tmp_path / "upload").stat().st_size < MIB
    assert 0 < most_allocated(tmp_path / "upload") < 32 * MIB


def test_parquet_batches_have_fewer_rows_where_rows_are_large(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": [str(i) * (MIB // 4) for i in range(10, 74)]}),
        tmp_path / "upload",
        compression=None,
        use_dictionary=False,
    )
    with pq.ParquetFile(tmp_path / "upload") as parquet:
        group = readers._Group(parquet.metadata.row_group(0).total_byte_size, 0)
        assert max(batch.num_rows for batch in readers._batches(parquet, [group])) == 15


def test_parquet_cells_that_python_cannot_hold_reject_their_row_alone(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b", "c"], "when": pa.array([0, 2**62, 1], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "upload")
    items = read_all(tmp_path / "upload", "x.parquet")
    assert [isinstance(item, RejectedItem) for item in items] == [False, True, False]


def test_errors_of_this_machine_are_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, b"text\nx\n")
    rows = readers.open_rows(opener(path), "x.csv")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        next(rows)
