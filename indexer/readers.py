"""Rows of uploaded files in bounded memory: csv, tsv, jsonl, json and parquet; plain, gz or zst."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from core.errors import InvalidInput, TooLarge
from core.ports.work import OpenFile
from core.types import RejectedItem
from indexer.csv_records import csv_records
from indexer.json_items import BLOCK_CHARACTERS, json_items, kind_of
from indexer.plain_values import MAX_ROW_CHARACTERS, TOO_LONG, check_names
from indexer.streams import BUFFER_BYTES, MAX_UNPACKED_BYTES, Upload

Row = Mapping[str, object]
NumberedRow = tuple[int, Row | RejectedItem]

COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
PARQUET_BATCH_ROWS: Final = 128
DICTIONARY_BYTES: Final = 16 * 1024 * 1024
PARQUET_BATCH_BYTES: Final = 8 * 1024 * 1024
_TEXT_TYPES = ("NONE", "STRING", "JSON", "BSON", "ENUM")


def open_rows(
    open_file: OpenFile, filename: str, skip_rows: int = 0, max_bytes: int = MAX_UNPACKED_BYTES
) -> Iterator[NumberedRow]:
    """Numbered rows of a file; `filename` tells the format. The first `skip_rows` are left out.

    A row is a mapping of column to value, or a RejectedItem when that row alone is unreadable. The number is
    the row's in the file, from 1 (in .jsonl the line's). Raises InvalidInput for a file that is not what its
    name says, is damaged or is not UTF-8, also when that shows only later; TooLarge for a stated limit,
    UnpackedTooLarge when more than `max_bytes` (unpacked; for Parquet a limit of its own) would be read.
    """
    extension, compression = format_of(filename)
    upload = Upload(open_file, filename, compression, max_bytes)
    return islice(_explained(READERS[extension](upload), upload), skip_rows, None)


def format_of(filename: str) -> tuple[str, str | None]:
    """Extension (".csv", …) and compression (None, "gzip", "zstd"). Raises InvalidInput for others."""
    suffixes = [suffix.lower() for suffix in Path(filename).suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in READERS:
        raise InvalidInput(
            f"File {filename!r} is of no known format; expected a name that ends in {', '.join(READERS)}, "
            f"optionally followed by {' or '.join(COMPRESSIONS)}"
        )
    return suffixes[-1], compression


def _explained(rows: Iterator[NumberedRow], upload: Upload) -> Iterator[NumberedRow]:
    """The rows, with errors of the libraries put into words for whoever sent the file."""
    filename = upload.filename
    if upload.is_empty():
        raise InvalidInput(f"File {filename!r} is empty; send a file with at least one row")
    try:
        yield from rows
    except UnicodeDecodeError:
        raise InvalidInput(upload.describe_encoding()) from None
    except pyarrow.ArrowMemoryError as error:
        raise InvalidInput(f"File {filename!r} needs too much memory: {error}; split its cells") from None
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise InvalidInput(f"File {filename!r} cannot be read as its name says: {error}") from None
    except OSError as error:
        if error.errno is not None:  # of this machine: a missing file, a full disk
            raise
        kind = upload.compression or "file"
        raise InvalidInput(
            f"File {filename!r} is damaged or no {kind} file: {error}. Make it again and send it whole"
        ) from None


def _read_csv(upload: Upload) -> Iterator[NumberedRow]:
    return _read_separated(upload, None)


def _read_tsv(upload: Upload) -> Iterator[NumberedRow]:
    return _read_separated(upload, "\t")


def _read_separated(upload: Upload, delimiter: str | None) -> Iterator[NumberedRow]:
    lines = upload.pieces("", MAX_ROW_CHARACTERS + 1)
    first = next(lines, "")
    records = csv_records(_rejoined(first, lines), delimiter or _delimiter(first))
    header = next(records, None)
    if isinstance(header, RejectedItem):
        raise InvalidInput(f"The header row cannot be read: {header.reason}")
    if not header or not any(name.strip() for name in header):
        raise InvalidInput("The first row is empty; expected the names of the columns there")
    names = [name.strip() for name in header]
    _check_header(names)
    for number, record in enumerate(records, start=1):
        yield number, _named(names, record, number)


def _check_header(names: Sequence[str]) -> None:
    check_names(names)
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise InvalidInput(f"Column {min(repeated)!r} occurs more than once in the header; rename one")


def _rejoined(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """Comma, unless the header has none but another usual delimiter."""
    return next((mark for mark in (",", ";", "\t", "|") if mark in header), ",")


def _named(names: list[str], record: list[str] | RejectedItem, number: int) -> Row | RejectedItem:
    if isinstance(record, RejectedItem):
        return RejectedItem(None, f"row {number}, {record.reason}")
    if len(record) != len(names):
        return RejectedItem(
            None, f"row {number}: found {len(record)} fields, expected {len(names)} as in the header"
        )
    return dict(zip(names, record, strict=True))


def _read_jsonl(upload: Upload) -> Iterator[NumberedRow]:
    for number, line in enumerate(_whole_lines(upload), start=1):
        if line is None:
            yield number, RejectedItem(None, f"line {number}: {TOO_LONG}")
        elif line.strip():
            yield number, _parsed(line, f"line {number}")


def _whole_lines(upload: Upload) -> Iterator[str | None]:
    """Lines; None in place of one over the limit."""
    pieces = upload.pieces("\n", MAX_ROW_CHARACTERS + 1)
    for line in pieces:
        if len(line) <= MAX_ROW_CHARACTERS:
            yield line
            continue
        while line and not line.endswith("\n"):
            line = next(pieces, "")
        yield None


def _parsed(line: str, place: str) -> Row | RejectedItem:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RejectedItem(None, f"{place}: no valid JSON ({error})")
    return _as_row(value, place)


def _read_json(upload: Upload) -> Iterator[NumberedRow]:
    items = json_items(upload.blocks(BLOCK_CHARACTERS))
    for number, item in enumerate(items, start=1):
        yield number, _as_row(item, f"item {number}")


def _as_row(value: object, place: str) -> Row | RejectedItem:
    if isinstance(value, dict):
        return value
    return RejectedItem(None, f"{place}: found {kind_of(value)}, expected an object")


def _read_parquet(upload: Upload) -> Iterator[NumberedRow]:
    number = 0
    with upload.seekable() as file:
        metadata = pyarrow.parquet.read_metadata(file)
        _check_size(metadata)
        # Texts stay in their dictionaries until a row is taken: one long text may stand in every row. A large
        # column is not repetitive, and one dictionary of all its texts would take several times its size.
        sizes = _largest_chunks(metadata)
        texts = [
            column.path
            for column, size in zip(_columns(metadata), sizes, strict=True)
            if _is_text(column) and size <= DICTIONARY_BYTES
        ]
        with pyarrow.parquet.ParquetFile(
            file, metadata=metadata, read_dictionary=texts, buffer_size=BUFFER_BYTES
        ) as parquet:
            names = parquet.schema_arrow.names
            _check_header(names)
            for batch in _batches(parquet):
                for cells in zip(*batch.columns, strict=True):
                    number += 1
                    yield number, _from_cells(names, cells, number)


def _columns(metadata: Any) -> list[Any]:
    return [metadata.schema.column(i) for i in range(metadata.num_columns)]


def _largest_chunks(metadata: Any) -> list[int]:
    """Bytes, unpacked, of each column in the row group where it is largest."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return [
        max((group.column(i).total_uncompressed_size for group in groups), default=0)
        for i in range(metadata.num_columns)
    ]


def _is_text(column: Any) -> bool:
    return column.physical_type == "BYTE_ARRAY" and column.logical_type.type in _TEXT_TYPES


def _check_size(metadata: Any) -> None:
    total = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if total > MAX_UNPACKED_BYTES:
        raise TooLarge(
            f"The file holds {total >> 20:,} MiB unpacked; the limit is {MAX_UNPACKED_BYTES >> 20:,}"
        )


def _batches(parquet: Any) -> Iterator[Any]:
    """Batches of fewer rows where rows are large."""
    for group in range(parquet.metadata.num_row_groups):
        facts = parquet.metadata.row_group(group)
        fitting = PARQUET_BATCH_BYTES * facts.num_rows // max(facts.total_byte_size, 1)
        rows = max(1, min(PARQUET_BATCH_ROWS, fitting))
        yield from parquet.iter_batches(batch_size=rows, row_groups=[group])


def _from_cells(names: Sequence[str], cells: Sequence[Any], number: int) -> Row | RejectedItem:
    try:
        return {name: cell.as_py() for name, cell in zip(names, cells, strict=True)}
    except (ValueError, OverflowError) as error:  # text that is no UTF-8, a date beyond the year 9999
        return RejectedItem(None, f"row {number}: {error}")


READERS: Final[dict[str, Callable[[Upload], Iterator[NumberedRow]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
