"""Rows as files of every format, and what is read of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from core.job_types import ImportFields
from core.ports.work import ImportReader, OpenFile
from core.types import RejectedItem
from indexer.imports import FileImportReader

ROWS: list[dict[str, Any]] = [
    {"id": "a", "title": "First", "text": 'Grüße, "world"\nand a second line', "year": "2020"},
    {"id": "b", "title": "", "text": "日本語のテキスト", "year": "2021"},
    {"id": "c", "title": "Third", "text": "plain", "year": ""},
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
