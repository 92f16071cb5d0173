"""Reads pairs of a query and the passage that answers it from JSONL files.

A line is `{"query", "text", "title"?, "negatives"?: [text or {"text", "title"?}], "label"?}`. Pairs of one
label are never each other's negatives. A line without a query is a passage that only serves as a negative.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InvalidInput
from core.text_lines import read_lines
from core.types import Int64, PassageText

NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs of one file: n pairs over distinct passages, all arrays int64.

    `positives` (n,) are indexes into `passages`; `query_keys` (n,) are equal where the queries are;
    `passage_labels` (passages,) are NO_LABEL where none is given.
    """

    name: str
    queries: tuple[str, ...]
    passages: tuple[PassageText, ...]
    positives: Int64
    negatives: tuple[tuple[int, ...], ...]
    query_keys: Int64
    labels: Int64
    passage_labels: Int64

    def __len__(self) -> int:
        return len(self.queries)

    def answers(self) -> dict[int, set[int]]:
        """Query key -> all passages that answer that query."""
        known: dict[int, set[int]] = {}
        for key, passage in zip(self.query_keys.tolist(), self.positives.tolist(), strict=True):
            known.setdefault(key, set()).add(passage)
        return known


def read_pairs(path: Path, max_pairs: int | None = None) -> PairSet:
    """The pairs of a `.jsonl` or `.jsonl.gz` file, at most `max_pairs`.

    Raises InvalidInput for a missing file, a file without pairs, and a broken line, by its number.
    """
    require_file(path)
    builder = _Builder()
    for number, line in read_lines(path):
        if max_pairs is not None and len(builder.queries) >= max_pairs:
            break
        try:
            builder.add(json.loads(line))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(
                f"{path}, line {number}: expected an object with the strings 'query' and 'text' "
                f"({type(error).__name__}: {error})."
            ) from error
    if len(builder.queries) < 2:
        raise InvalidInput(f"{path} holds {len(builder.queries)} pairs; training needs at least 2.")
    return builder.build(path.name)


def require_file(path: Path, of: str = "pairs") -> None:
    """Raises InvalidInput for a file of pairs, or of what else it is `of`, that is missing."""
    if not path.is_file():
        raise InvalidInput(f"The file of {of} {path} does not exist.")


class _Builder:
    """Gives equal passages, equal queries and equal labels one number each."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self._passages: dict[PassageText, int] = {}
        self._passage_labels: list[int] = []
        self._positives: list[int] = []
        self._negatives: list[tuple[int, ...]] = []
        self._keys: dict[str, int] = {}
        self._query_keys: list[int] = []
        self._label_names: dict[str, int] = {}
        self._labels: list[int] = []

    def add(self, row: Mapping[str, Any]) -> None:
        label = self._label(row.get("label"))
        passage = self._passage(row, label)
        if row.get("query") is None:
            return
        query = _string(row["query"])
        negatives = tuple(
            self._passage({"text": n} if isinstance(n, str) else n, NO_LABEL)
            for n in row.get("negatives") or ()
        )
        self.queries.append(query)
        self._positives.append(passage)
        self._negatives.append(negatives)
        self._query_keys.append(self._keys.setdefault(" ".join(query.lower().split()), len(self._keys)))
        self._labels.append(label)

    def build(self, name: str) -> PairSet:
        return PairSet(
            name,
            tuple(self.queries),
            tuple(self._passages),
            np.array(self._positives, np.int64),
            tuple(self._negatives),
            np.array(self._query_keys, np.int64),
            np.array(self._labels, np.int64),
            np.array(self._passage_labels, np.int64),
        )

    def _passage(self, row: Mapping[str, Any], label: int) -> int:
        passage = PassageText(_string(row.get("title") or ""), _string(row["text"]))
        number = self._passages.setdefault(passage, len(self._passages))
        if number == len(self._passage_labels):
            self._passage_labels.append(label)
        return number

    def _label(self, name: object) -> int:
        return NO_LABEL if name is None else self._label_names.setdefault(str(name), len(self._label_names))


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"found a {type(value).__name__} where a string belongs")
    return value
