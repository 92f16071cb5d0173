"""Attributes as plain arrays, for snapshots: living rows alone, columns one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from indexer.attributes_columns import DTYPES, Columns, ColumnView, Rows, compacted
from indexer.attributes_keywords import offsets_of, unpacked
from indexer.attributes_values import Kind

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

FORMAT: Final = 1
HEADER, DOCUMENT_IDS, ROWS, TEXTS, LENGTHS = "header", "document_ids", "rows", "texts", "text_lengths"
DTYPE_OF: Final = {
    HEADER: np.uint8,
    DOCUMENT_IDS: np.int64,
    ROWS: np.int32,
    TEXTS: np.uint8,
    LENGTHS: np.int32,
}


def pack(rows: Rows, columns: Columns, declared: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Arrays that `unpack` reads: the header is JSON, texts are UTF-8, and there is one array a kind."""
    rows, columns = compacted(rows, columns)
    parts = [(field, part) for field, kinds in columns.items() for part in kinds.values()]
    header = {
        "format": FORMAT,
        "declared": dict(declared),
        "columns": [[field, part.kind, len(part.rows), part.keyword_count] for field, part in parts],
    }
    arrays: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (ROWS, TEXTS, LENGTHS, *Kind)}
    for _, part in parts:
        arrays[ROWS].append(part.rows)
        arrays[part.kind].append(part.values)
        if part.keywords is not None:
            blob, offsets = part.keywords.packed(np.arange(part.keyword_count))
            arrays[TEXTS].append(np.frombuffer(blob, dtype=np.uint8))
            arrays[LENGTHS].append(np.diff(offsets).astype(np.int32))
    text = json.dumps(header).encode()
    return {
        HEADER: np.frombuffer(text, dtype=np.uint8),
        DOCUMENT_IDS: rows.document_ids,
        **{name: np.concatenate([np.empty(0, dtype=_dtype(name)), *found]) for name, found in arrays.items()},
    }


def unpack(arrays: Arrays, declared: Mapping[str, str]) -> tuple[Rows, dict[str, dict[Kind, ColumnView]]]:
    """The state in the arrays. Raises ValueError if it is not whole, or of other declarations."""
    missing = {HEADER, DOCUMENT_IDS, ROWS, TEXTS, LENGTHS, *Kind} - set(arrays)
    if missing:
        raise ValueError(f"attributes lack the arrays {', '.join(sorted(missing))}")
    header = json.loads(arrays[HEADER].tobytes())
    if header["format"] != FORMAT or header["declared"] != dict(declared):
        raise ValueError(
            f"attributes of format {header['format']}, declared {header['declared']}; expected {FORMAT},"
            f" {dict(declared)}"
        )
    reader = _Reader(arrays)
    ids = reader.take(DOCUMENT_IDS, len(arrays[DOCUMENT_IDS]))
    if len(np.unique(ids)) != len(ids):
        raise ValueError("attributes hold a document twice")
    columns: dict[str, dict[Kind, ColumnView]] = {}
    for field, kind, count, keyword_count in header["columns"]:
        columns.setdefault(field, {})[Kind(kind)] = reader.column(Kind(kind), count, keyword_count, len(ids))
    reader.check_end()
    return Rows(ids, np.ones(len(ids), dtype=np.bool_), len(ids)), columns


class _Reader:
    """Takes the arrays apart from their beginning; raises ValueError when one is too short or too long."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._at = dict.fromkeys((DOCUMENT_IDS, ROWS, TEXTS, LENGTHS, *Kind), 0)

    def take(self, name: str, count: int) -> npt.NDArray[Any]:
        start = self._at[name]
        self._at[name] = start + count
        part = self._arrays[name][start : start + count]
        if len(part) != count or part.dtype != _dtype(name) or part.ndim != 1:
            raise ValueError(f"attributes: {name} has no {count} values of {_dtype(name)} at {start}")
        return part

    def column(self, kind: Kind, count: int, keyword_count: int, n: int) -> ColumnView:
        rows, values = self.take(ROWS, count), self.take(kind, count)
        steps = np.diff(rows, prepend=np.int32(-1))
        if count and (steps.min() < 0 or rows[0] < 0 or rows[-1] >= n):
            raise ValueError(f"attributes: rows of a column of {kind} are not in order from 0 to {n - 1}")
        row_count = int(np.count_nonzero(steps))
        if kind is not Kind.KEYWORD:
            return ColumnView(kind, rows, values, row_count)
        if count and (values.min() < 0 or values.max() >= keyword_count):
            raise ValueError(f"attributes: a keyword has a code beyond its {keyword_count} texts")
        offsets = offsets_of(self.take(LENGTHS, keyword_count))
        keywords = unpacked(self.take(TEXTS, int(offsets[-1])).tobytes(), offsets)
        return ColumnView(kind, rows, values, row_count, keywords, keyword_count)

    def check_end(self) -> None:
        for name, at in self._at.items():
            if at != len(self._arrays[name]):
                raise ValueError(f"attributes: {name} has {len(self._arrays[name])} values, expected {at}")


def _dtype(name: str) -> npt.DTypeLike:
    return DTYPE_OF[name] if name in DTYPE_OF else DTYPES[Kind(name)]
