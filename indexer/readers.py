"""Rows of uploaded files in bounded memory: csv, tsv, jsonl, json and parquet; plain, gz or zst."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from core.errors import InvalidInput, TooLarge
from core.ports.work import OpenFile
from core.types import RejectedItem
from indexer.csv_records import csv_records
from indexer.json_items import BLOCK_CHARACTERS, DECODER, json_items, kind_of
from indexer.parquet_sizes import Chunk, column_chunks, dictionary_bytes, read_footer
from indexer.plain_values import (
    MAX_ROW_CHARACTERS,
    TOO_LONG,
    UnreadableCell,
    check_names,
    why_unreadable,
)
from indexer.spool import SYSTEM_SPOOL, Spool
from indexer.streams import BUFFER_BYTES, GZIP, MAX_UNPACKED_BYTES, Upload

Row = Mapping[str, object]
NumberedRow = tuple[int, Row | RejectedItem]

PARQUET: Final = ".parquet"
COMPRESSIONS: Final = {".gz": GZIP, ".zst": "zstd"}
PARQUET_BATCH_ROWS: Final = 128
DICTIONARY_BYTES: Final = 16 * 1024 * 1024
PARQUET_BATCH_BYTES: Final = 8 * 1024 * 1024
REPEATED_BATCH_BYTES: Final = 64 * 1024 * 1024
FIXED_LENGTH: Final = "FIXED_LEN_BYTE_ARRAY"
TOLD_DELIMITER: Final = re.compile(r'"?sep=([^\r\n"])"?[\r\n]*', re.IGNORECASE)  # Excel's own first line
_TEXT_TYPES = ("NONE", "STRING", "JSON", "BSON", "ENUM")


def open_rows(
    open_file: OpenFile,
    filename: str,
    skip_rows: int = 0,
    max_bytes: int = MAX_UNPACKED_BYTES,
    spool: Spool = SYSTEM_SPOOL,
    columns: Collection[str] | None = None,
) -> Iterator[NumberedRow]:
    """Numbered rows of a file; `filename` tells the format. The first `skip_rows` are left out.

    A row is a mapping of column to value, or a RejectedItem when that row alone is unreadable; a value that
    alone is so is an UnreadableCell. The number is the row's in the file, from 1 (in .jsonl the line's). Of
    Parquet only `columns` are read, if they are named; rows may hold others all the same. Raises
    InvalidInput for a file that is not what its name says, is damaged or is not UTF-8, also when that shows
    only later; TooLarge for a stated limit, UnpackedTooLarge when more than `max_bytes` (unpacked; for
    Parquet the limit of `spool`, where packed Parquet is unpacked) would be read; StorageFull when there is
    no room for that.
    """
    extension, compression = format_of(filename)
    upload = Upload(open_file, filename, compression, max_bytes, spool)
    rows = _read_parquet(upload, columns) if extension == PARQUET else READERS[extension](upload)
    return islice(_explained(rows, upload), skip_rows, None)


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
        if format_of(filename)[0] == PARQUET:  # a name of its schema; cells are their row's matter
            raise InvalidInput(
                f"File {filename!r} is damaged: a name in it is no UTF-8. Make it again and send it whole"
            ) from None
        raise InvalidInput(upload.describe_encoding()) from None
    except pyarrow.ArrowMemoryError as error:
        raise InvalidInput(f"File {filename!r} needs too much memory: {error}; split its cells") from None
    except pyarrow.ArrowCancelled:
        raise
    except pyarrow.ArrowException as error:  # of damaged pages also indexes out of range, and others
        raise InvalidInput(f"File {filename!r} cannot be read as its name says: {error}") from None
    except OSError as error:
        if error.errno is not None:  # of this machine: a missing file, a full disk
            raise
        other = f" or no {upload.compression} file" if upload.compression else ""
        raise InvalidInput(
            f"File {filename!r} is damaged{other}: {error}. Make it again and send it whole"
        ) from None


def _read_csv(upload: Upload) -> Iterator[NumberedRow]:
    return _read_separated(upload, None)


def _read_tsv(upload: Upload) -> Iterator[NumberedRow]:
    return _read_separated(upload, "\t")


def _read_separated(upload: Upload, delimiter: str | None) -> Iterator[NumberedRow]:
    lines = upload.pieces("", MAX_ROW_CHARACTERS + 1)
    first, blank = next(lines, ""), 0
    while first and not first.strip("\r\n"):
        first, blank = next(lines, ""), blank + 1
    if told := TOLD_DELIMITER.fullmatch(first):
        delimiter, first, blank = told[1], next(lines, ""), blank + 1
    records = csv_records(chain(repeat("\n", blank), [first], lines), delimiter or _delimiter(first))
    header = next(records, None)
    if isinstance(header, RejectedItem):
        raise InvalidInput(f"The header row cannot be read: {header.reason}")
    if not header or not any(name.strip() for name in header):
        raise InvalidInput("The first row is empty; expected the names of the columns there")
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, start=1)]
    _check_header(names)
    for number, record in enumerate(records, start=1):
        yield number, _named(names, record, number)


def _check_header(names: Sequence[str]) -> None:
    check_names(names)
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise InvalidInput(f"Column {min(repeated)!r} occurs more than once in the header; rename one")


def _delimiter(header: str) -> str:
    """The usual delimiter that the header has most often outside quotation marks; else a comma."""
    plain = re.sub(r'"[^"]*(?:"|$)', "", header)
    return max((",", ";", "\t", "|"), key=plain.count)


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
        value = DECODER.decode(line)
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


@dataclass(frozen=True, slots=True)
class _Group:
    """Of what is read of a row group: bytes, unpacked, and how many of them may stand in every row."""

    size: int
    repeatable: int


def _read_parquet(upload: Upload, wanted: Collection[str] | None = None) -> Iterator[NumberedRow]:
    number = 0
    with upload.seekable() as file:
        footer = read_footer(file)
        metadata = pyarrow.parquet.read_metadata(file)
        _check_size(metadata)
        chunks = _checked_chunks(metadata, footer)
        columns = {i: metadata.schema.column(i) for i in range(metadata.num_columns)}
        columns = {i: column for i, column in columns.items() if _is_wanted(column.path, wanted)}
        # Texts stay in their dictionaries until a row is taken: one long text may stand in every row. A large
        # column is not repetitive, and one dictionary of all its texts would take several times its size.
        large = {i for i, column in columns.items() if _is_large(column, [group[i] for group in chunks])}
        texts = [column.path for i, column in columns.items() if _is_text(column) and i not in large]
        fixed = sum(column.length for column in columns.values() if column.physical_type == FIXED_LENGTH)
        groups = (
            _Group(
                sum(group[i].size for i in columns),
                fixed + sum(dictionary_bytes(file, group[i]) for i in large),
            )
            for group in chunks
        )
        with pyarrow.parquet.ParquetFile(
            file, metadata=metadata, read_dictionary=texts, buffer_size=BUFFER_BYTES
        ) as parquet:
            _check_header(parquet.schema_arrow.names)
            for batch in _batches(parquet, groups, wanted):
                for cells in zip(*batch.columns, strict=True):
                    number += 1
                    yield number, _from_cells(batch.schema.names, cells)


def _is_wanted(path: str, wanted: Collection[str] | None) -> bool:
    """Whether the column is one of those, or lies in one; a dot may also belong to its name."""
    return wanted is None or any(path == name or path.startswith(f"{name}.") for name in wanted)


def _checked_chunks(metadata: Any, footer: bytes) -> list[list[Chunk]]:
    """Of each row group its columns; InvalidInput where they are not those of the schema.

    Not from `metadata`: asked for a column of a damaged footer, the library ends the process.
    """
    groups = column_chunks(footer)
    if len(groups) != metadata.num_row_groups or any(len(group) != metadata.num_columns for group in groups):
        raise InvalidInput(
            "The footer of the Parquet file is damaged: its row groups have not the columns that it names."
            " Make the file again and send it whole"
        )
    return groups


def _is_large(column: Any, chunks: Sequence[Chunk]) -> bool:
    """Whether it is text, one a row, of which a row group has too much for a dictionary."""
    is_single = column.max_repetition_level == 0
    return is_single and _is_text(column) and any(chunk.size > DICTIONARY_BYTES for chunk in chunks)


def _is_text(column: Any) -> bool:
    return column.physical_type == "BYTE_ARRAY" and column.logical_type.type in _TEXT_TYPES


def _check_size(metadata: Any) -> None:
    total = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if total > MAX_UNPACKED_BYTES:
        raise TooLarge(
            f"The file holds {total >> 20:,} MiB unpacked; the limit is {MAX_UNPACKED_BYTES >> 20:,}"
        )


def _batches(parquet: Any, groups: Iterable[_Group], wanted: Collection[str] | None = None) -> Iterator[Any]:
    """Batches of the wanted columns, of fewer rows where rows are large, or may be: what is repeatable
    stands in the file once.
    """
    columns = None if wanted is None else sorted(wanted)
    for number, group in enumerate(groups):
        fitting = PARQUET_BATCH_BYTES * parquet.metadata.row_group(number).num_rows // max(group.size, 1)
        safe = REPEATED_BATCH_BYTES // max(group.repeatable, 1)
        rows = max(1, min(PARQUET_BATCH_ROWS, fitting, safe))
        yield from parquet.iter_batches(batch_size=rows, row_groups=[number], columns=columns)


def _from_cells(names: Sequence[str], cells: Sequence[Any]) -> Row:
    """Maps are objects; one that holds a key twice is a list of pairs."""
    try:
        return {name: cell.as_py(maps_as_pydicts="strict") for name, cell in zip(names, cells, strict=True)}
    except (KeyError, ValueError, OverflowError):
        return {name: _cell(cell) for name, cell in zip(names, cells, strict=True)}


def _cell(cell: Any, maps: str | None = "strict") -> object:
    try:
        return cell.as_py(maps_as_pydicts=maps)
    except KeyError:
        return _cell(cell, None)
    except (ValueError, OverflowError) as error:  # text that is no UTF-8, a date beyond the year 9999
        return UnreadableCell(why_unreadable(error))


READERS: Final[dict[str, Callable[[Upload], Iterator[NumberedRow]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    PARQUET: _read_parquet,
}
