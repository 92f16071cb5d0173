"""Records of separated values, each within the limit of a row."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from core.errors import InvalidInput
from core.types import RejectedItem
from indexer.plain_values import MAX_ROW_CHARACTERS, TOO_LONG


class _RowTooLong(Exception):
    """A record is over the limit before its end."""


class _RecordLines:
    """Lines for a csv reader; raises _RowTooLong when one record takes more than the limit."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._last = ""
        self.begin_record()

    def begin_record(self) -> None:
        self._characters = self._quotes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._last = next(self._pieces)
        self._characters += len(self._last)
        self._quotes += self._last.count('"')
        if self._characters > MAX_ROW_CHARACTERS:
            raise _RowTooLong
        return self._last

    def skip_record(self) -> None:
        """Passes over the rest of a record, which ends with a line outside quotation marks."""
        while not self._last.endswith(("\n", "\r")) or self._quotes % 2:
            self._last = next(self._pieces, "")
            self._quotes += self._last.count('"')
            if not self._last and self._quotes % 2:
                raise InvalidInput(f"A row is {TOO_LONG}; its last quotation mark is never closed")
            if not self._last:
                return


def csv_records(pieces: Iterator[str], delimiter: str) -> Iterator[list[str] | RejectedItem]:
    """Records that are not blank; one that is too long or breaks the rules of quoting is a RejectedItem.

    `pieces` are lines with their ends; of a line over the limit, pieces of one character more than it allows.
    Raises InvalidInput when a record is too long because a quotation mark is never closed.
    """
    csv.field_size_limit(MAX_ROW_CHARACTERS)
    lines = _RecordLines(pieces)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_record()
        try:
            record = next(reader)
        except StopIteration:
            return
        except _RowTooLong:
            lines.skip_record()
            yield RejectedItem(None, TOO_LONG)
            continue
        except csv.Error as error:
            yield RejectedItem(None, f"line {reader.line_num}: {error}; double quotation marks inside fields")
            continue
        if record:
            yield record
