"""Rows of uploaded files in bounded memory: csv, tsv, jsonl, json and parquet; plain, gz or zst."""

from __future__ import annotations

import codecs
import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final

import pyarrow
import pyarrow.parquet

from core.errors import InvalidInput, TooLarge
from core.types import RejectedItem

Row = Mapping[str, object]
NumberedRow = tuple[int, Row | RejectedItem]

COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
MAX_JSON_BYTES: Final = 256 * 1024 * 1024
MAX_LINE_CHARACTERS: Final = 16 * 1024 * 1024
MAX_UNPACKED_PARQUET_BYTES: Final = 4 * 1024 * 1024 * 1024
PARQUET_BATCH_ROWS: Final = 512
COPY_BYTES: Final = 1 << 20


def open_rows(path: Path, filename: str, skip_rows: int = 0) -> Iterator[NumberedRow]:
    """Numbered rows of the file at `path`; `filename` tells the format. The first `skip_rows` are left out.

    A row is a mapping of column to value, or a RejectedItem when that row alone is unreadable. The number is
    the row's in the file, from 1 (in .jsonl the line's). Raises InvalidInput for a file that is not what its
    name says, is damaged or is not UTF-8, also when that shows only later; TooLarge for a stated limit.
    """
    extension, compression = format_of(filename)
    rows = READERS[extension](path, compression)
    return islice(_explained(rows, path, filename, compression), skip_rows, None)


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


def _explained(
    rows: Iterator[NumberedRow], path: Path, filename: str, compression: str | None
) -> Iterator[NumberedRow]:
    """The rows, with errors of the libraries put into words for whoever sent the file."""
    if path.stat().st_size == 0:
        raise InvalidInput(f"File {filename!r} is empty; send a file with at least one row")
    try:
        yield from rows
    except UnicodeDecodeError:
        raise InvalidInput(_describe_encoding(path, filename, compression)) from None
    except pyarrow.ArrowInvalid as error:
        raise InvalidInput(f"File {filename!r} cannot be read as its name says: {error}") from None
    except FileNotFoundError:
        raise
    except OSError as error:  # what pyarrow raises for a damaged compressed stream
        kind = compression or "file"
        raise InvalidInput(
            f"File {filename!r} is damaged or no {kind} file: {error}. Make it again and send it whole"
        ) from None


def _stream(path: Path, compression: str | None) -> IO[bytes]:
    stream: IO[bytes] = pyarrow.input_stream(str(path), compression=compression)
    return stream


def _lines(path: Path, compression: str | None, newline: str) -> Iterator[str]:
    """Decoded lines with their ends; a byte order mark is dropped."""
    with closing(io.TextIOWrapper(_stream(path, compression), "utf-8-sig", newline=newline)) as text:
        while line := text.readline(MAX_LINE_CHARACTERS):
            if len(line) == MAX_LINE_CHARACTERS and not line.endswith(("\n", "\r")):
                raise TooLarge(f"A line is longer than {MAX_LINE_CHARACTERS} characters; split the text")
            yield line


def _read_csv(path: Path, compression: str | None) -> Iterator[NumberedRow]:
    return _read_separated(path, compression, None)


def _read_tsv(path: Path, compression: str | None) -> Iterator[NumberedRow]:
    return _read_separated(path, compression, "\t")


def _read_separated(path: Path, compression: str | None, delimiter: str | None) -> Iterator[NumberedRow]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    lines = _lines(path, compression, newline="")
    first = next(lines, "")
    records = _records(_rejoined(first, lines), delimiter or _delimiter(first))
    header = next(records, None)
    if isinstance(header, RejectedItem):
        raise InvalidInput(f"The header row cannot be read: {header.reason}")
    if not header or not any(name.strip() for name in header):
        raise InvalidInput("The first row is empty; expected the names of the columns there")
    names = [name.strip() for name in header]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InvalidInput(f"Column {min(repeated)!r} occurs more than once in the header; rename one")
    for number, record in enumerate(records, start=1):
        yield number, _named(names, record, number)


def _rejoined(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """Comma, unless the header has none but another usual delimiter."""
    return next((mark for mark in (",", ";", "\t", "|") if mark in header), ",")


def _records(lines: Iterator[str], delimiter: str) -> Iterator[list[str] | RejectedItem]:
    """Records that are not blank; one that breaks the rules of quoting is a RejectedItem."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "field limit" in str(error):
                raise TooLarge(
                    f"A field before line {reader.line_num} is longer than {MAX_LINE_CHARACTERS} characters; "
                    "is a quotation mark left open?"
                ) from None
            yield RejectedItem(None, f"line {reader.line_num}: {error}; double quotation marks inside fields")
            continue
        if record:
            yield record


def _named(names: list[str], record: list[str] | RejectedItem, number: int) -> Row | RejectedItem:
    if isinstance(record, RejectedItem):
        return RejectedItem(None, f"row {number}, {record.reason}")
    if len(record) != len(names):
        return RejectedItem(
            None, f"row {number}: found {len(record)} fields, expected {len(names)} as in the header"
        )
    return dict(zip(names, record, strict=True))


def _read_jsonl(path: Path, compression: str | None) -> Iterator[NumberedRow]:
    for number, line in enumerate(_lines(path, compression, newline="\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, RejectedItem(None, f"line {number}: no valid JSON ({error})")
            continue
        yield number, _as_row(value, f"line {number}")


def _read_json(path: Path, compression: str | None) -> Iterator[NumberedRow]:
    """Loads the whole file, which is why its size is limited."""
    with closing(_stream(path, compression)) as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise TooLarge(
            f"The file holds more than {MAX_JSON_BYTES >> 20} MiB of JSON, which is the limit for .json; "
            "send it as .jsonl (one object a line), which has none"
        )
    text = content.decode("utf-8-sig")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The file is no valid JSON: {error}. Is it one object a line (.jsonl)?") from None
    documents = value.get("documents") if isinstance(value, dict) else value
    if not isinstance(documents, list):
        raise InvalidInput(
            f'Found {_kind(value)} at the top; expected an array of objects, or {{"documents": [...]}}'
        )
    for number, document in enumerate(documents, start=1):
        yield number, _as_row(document, f"item {number}")


def _as_row(value: object, place: str) -> Row | RejectedItem:
    if isinstance(value, dict):
        return value
    return RejectedItem(None, f"{place}: found {_kind(value)}, expected an object")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _read_parquet(path: Path, compression: str | None) -> Iterator[NumberedRow]:
    number = 0
    with _seekable(path, compression) as file, pyarrow.parquet.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(batch_size=PARQUET_BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield number, row


@contextmanager
def _seekable(path: Path, compression: str | None) -> Iterator[IO[bytes]]:
    """The file itself, or its unpacked content in an unnamed temporary file: Parquet is read from its end."""
    with open(path, "rb") if compression is None else tempfile.TemporaryFile() as file:
        if compression is not None:
            with closing(_stream(path, compression)) as packed:
                _unpack(packed, file)
        yield file


def _unpack(packed: IO[bytes], file: IO[bytes]) -> None:
    while block := packed.read(COPY_BYTES):
        file.write(block)
        if file.tell() > MAX_UNPACKED_PARQUET_BYTES:
            raise TooLarge(f"The file unpacks to more than {MAX_UNPACKED_PARQUET_BYTES >> 30} GiB")
    file.seek(0)


def _describe_encoding(path: Path, filename: str, compression: str | None) -> str:
    """Finds the first byte that is not UTF-8, counted from 0 in the unpacked file."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with closing(_stream(path, compression)) as stream:
        while True:
            block = stream.read(COPY_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = done - pending + error.start
                return (
                    f"File {filename!r} is not UTF-8: byte 0x{error.object[error.start]:02x} at {at} "
                    "cannot be decoded. Save it as UTF-8 (in a spreadsheet: 'CSV UTF-8') and send it again"
                )
            done += len(block)
            if not block:
                return f"File {filename!r} is not UTF-8; save it as UTF-8 and send it again"


READERS: Final[dict[str, Callable[[Path, str | None], Iterator[NumberedRow]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
