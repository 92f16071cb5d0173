"""Reads JSON lines and tab-separated judgements, plain or gzip; a damaged line is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core import text_lines
from core.errors import InvalidInput

_SURROGATES = re.compile("[\ud800-\udfff]")
JSONL = (".jsonl", ".jsonl.gz")


def find_jsonl(folder: Path, name: str) -> Path | None:
    """`name`.jsonl or `name`.jsonl.gz in the folder."""
    return next((path for end in JSONL if (path := folder / f"{name}{end}").is_file()), None)


def need_jsonl(folder: Path, name: str) -> Path:
    """As `find_jsonl`. Raises InvalidInput when there is neither."""
    path = find_jsonl(folder, name)
    if path is None:
        raise InvalidInput(f"{folder} has no {name}.jsonl or {name}.jsonl.gz; add the file.")
    return path


def read_jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place ("file:line") and object of every line that is not blank. Raises InvalidInput."""
    for place, line in read_lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"{place} is not JSON ({error}); expected one object a line.") from None
        if not isinstance(row, dict):
            raise InvalidInput(f"{place} holds a {type(row).__name__}; expected one JSON object a line.")
        yield place, row


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Place and text of every line that is not blank; lines end at a line feed only."""
    return ((f"{path}:{number}", line) for number, line in text_lines.read_lines(path))


def text_of(row: Mapping[str, Any], field: str, place: str) -> str:
    """A string of the row. Raises InvalidInput when it is missing or of another type.

    Half a surrogate pair, which JSON can carry and a request cannot, is U+FFFD, as encoders read it.
    """
    value = row.get(field)
    if not isinstance(value, str):
        found = f"a {type(value).__name__}" if field in row else f"only {', '.join(sorted(row)) or 'nothing'}"
        raise InvalidInput(f"{place}: expected a string {field!r}, found {found}.")
    return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
