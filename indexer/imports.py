"""Uploaded files as documents; implements `core.ports.ImportReader`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any

from core.documents import count_characters
from core.errors import InvalidInput, TooLarge
from core.job_types import ImportFields, ImportPlan
from core.ports.work import OpenFile
from core.types import RejectedItem
from indexer.fields import METADATA, plan_fields
from indexer.plain_values import TOO_LONG, check_names, is_too_long, plain_cells, to_text
from indexer.spool import SYSTEM_SPOOL, Spool

if TYPE_CHECKING:
    from indexer.readers import Row

SAMPLE_ROWS = 100
SAMPLE_CHARACTERS = 8 * 1024 * 1024
SAMPLE_BYTES = 64 * 1024 * 1024  # blank lines and rows that are too long count too
OWN_METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class FileImportReader:
    """Reads `.csv .tsv .jsonl .json .parquet`, each also `.gz` and `.zst`; `spool` unpacks packed Parquet."""

    spool: Spool = SYSTEM_SPOOL

    def plan(self, open_file: OpenFile, filename: str, fields: ImportFields) -> ImportPlan:
        """Which columns hold what, from the first 100 rows, or fewer large ones.

        A cell that cannot be read matters only in a column that is used. Raises InvalidInput, also when no
        row of the sample can be read, TooLarge, StorageFull.
        """
        sample, problem = _sample(open_file, filename, self.spool, fields)
        columns = list(dict.fromkeys(column for _, row in sample for column in row))
        check_names(columns)
        if sample:
            plan = plan_fields([plain_cells(row)[0] for _, row in sample], columns, fields)
            problems = (_plain_row(number, row, plan) for number, row in sample)
            first = next(problems)
            if not isinstance(first, RejectedItem) or not all(isinstance(p, RejectedItem) for p in problems):
                return plan
            problem = problem or first.reason
        raise InvalidInput(f"File {filename!r} holds no readable row: {problem or 'it has no rows'}")

    def items(
        self, open_file: OpenFile, filename: str, plan: ImportPlan, skip_rows: int
    ) -> Iterator[Mapping[str, object] | RejectedItem]:
        """One document mapping, or the reason it cannot be read, a row, after the first `skip_rows` of them.

        Raises InvalidInput when the file turns out to be damaged further on, TooLarge, StorageFull.
        """
        from indexer.readers import open_rows

        columns = _used_columns(plan)
        for number, row in open_rows(open_file, filename, skip_rows, spool=self.spool, columns=columns):
            yield to_item(number, row, plan)


def to_item(number: int, row: Row | RejectedItem, plan: ImportPlan) -> Mapping[str, object] | RejectedItem:
    """`{"id", "text", "title", "metadata"}` of row `number`; missing values are left out of the metadata.

    Nothing is validated here but what cannot become JSON at all, and the length of all that is used.
    """
    values = _plain_row(number, row, plan)
    if isinstance(values, RejectedItem):
        return values
    try:
        id_, title, text = (_text(values, one) for one in (plan.id_field, plan.title_field, plan.text_field))
    except ValueError as error:
        return RejectedItem(None, f"row {number}: {error}")
    if plan.id_field and not id_:
        return RejectedItem(None, f"row {number}: column {plan.id_field!r}, which holds the id, is empty")
    content = {"text": text or "", "title": title or "", "metadata": _metadata(values, plan)}
    return {"id": id_ or _row_id(number, content), **content}


def _row_id(number: int, content: Mapping[str, object]) -> str:
    """Of a row without one: the same whenever the file is read, and not that of another file's row."""
    told = json.dumps(content, sort_keys=True, default=str).encode()
    return f"row-{number}-{blake2b(told, digest_size=6).hexdigest()}"


def _text(values: Mapping[str, object], column: str | None) -> str | None:
    """Raises ValueError for what is no text."""
    try:
        return to_text(values.get(column)) if column else None
    except ValueError as error:
        raise ValueError(f"column {column!r} holds {error}") from error


def _metadata(values: Mapping[str, object], plan: ImportPlan) -> dict[str, object]:
    """Named columns; where they were guessed, also columns that appear only after the sample.

    A guessed column "metadata" that holds an object is that object: the shape of our own documents.
    """
    is_guessed = METADATA in plan.guessed
    used = {plan.id_field, plan.text_field, plan.title_field}
    columns = [name for name in values if name not in used] if is_guessed else list(plan.metadata_fields)
    kept = {name: values.get(name) for name in columns if values.get(name) not in (None, "")}
    own = kept.get(OWN_METADATA)
    if is_guessed and isinstance(own, dict):
        del kept[OWN_METADATA]
        kept = {**own, **kept}
    return kept


def _used_columns(plan: ImportPlan) -> frozenset[str] | None:
    """None: all, also those that appear only after the sample."""
    if METADATA in plan.guessed:
        return None
    named = (plan.id_field, plan.text_field, plan.title_field, *plan.metadata_fields)
    return frozenset(name for name in named if name is not None)


def _sample(
    open_file: OpenFile, filename: str, spool: Spool, fields: ImportFields
) -> tuple[list[tuple[int, Row]], str]:
    """Numbered rows from the beginning of the file, and what is wrong with the first that is none.

    They have all columns, but values only of those that may be used.
    """
    from indexer.readers import open_rows  # pyarrow costs 40 MB, which most processes never need
    from indexer.streams import UnpackedTooLarge

    rows: list[tuple[int, Row]] = []
    problem, room = "", SAMPLE_CHARACTERS
    try:
        numbered = open_rows(open_file, filename, max_bytes=SAMPLE_BYTES, spool=spool)
        for number, row in islice(numbered, SAMPLE_ROWS):
            named = _named(number, row)
            if isinstance(named, RejectedItem):
                problem = problem or named.reason
                continue
            useful = _useful(named, fields)
            values, _ = plain_cells(useful)
            if is_too_long(values):
                problem = problem or f"row {number}: {TOO_LONG}"
                continue
            rows.append((number, useful))
            room -= count_characters(values)
            if room <= 0:
                break
    except UnpackedTooLarge:
        if not rows:
            found = problem or "only blank lines, or a row that is too long"
            raise TooLarge(
                f"The first {SAMPLE_BYTES >> 20} MiB of file {filename!r} hold no readable row: {found}"
            ) from None
    return rows, problem


def _useful(row: Row, fields: ImportFields) -> Row:
    """None in place of what neither is asked for nor helps to guess: ids and titles are guessed by name."""
    if fields.text_field is None or fields.metadata_fields is None:
        return row
    asked = {fields.id_field, fields.text_field, fields.title_field, *fields.metadata_fields}
    return {column: value if column in asked else None for column, value in row.items()}


def _plain_row(number: int, row: Row | RejectedItem, plan: ImportPlan) -> dict[str, Any] | RejectedItem:
    named = _named(number, row)
    if isinstance(named, RejectedItem):
        return named
    used = _used_columns(plan)
    values, problems = plain_cells(
        named if used is None else {name: named[name] for name in named if name in used}
    )
    if problems:
        column, reason = next(iter(problems.items()))
        return RejectedItem(None, f"row {number}: column {column!r}: {reason}{_way_out(column, plan)}")
    if is_too_long(values):
        return RejectedItem(None, f"row {number}: {TOO_LONG}")
    return values


def _way_out(column: str, plan: ImportPlan) -> str:
    if column in (plan.id_field, plan.text_field, plan.title_field):
        return ""
    return f"; leave {column!r} out: name the columns to keep as metadata in {METADATA}"


def _named(number: int, row: Row | RejectedItem) -> Row | RejectedItem:
    """The row, if its columns have names that can be stored."""
    if isinstance(row, RejectedItem):
        return row
    try:
        check_names(list(row))
    except (InvalidInput, TooLarge) as error:
        return RejectedItem(None, f"row {number}: {error}")
    return row
