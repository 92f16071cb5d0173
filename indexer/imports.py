"""Uploaded files as documents; implements `core.ports.ImportReader`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from core.documents import count_characters
from core.errors import InvalidInput, TooLarge
from core.job_types import ImportFields, ImportPlan
from core.ports.work import OpenFile
from core.types import RejectedItem
from indexer.fields import METADATA, plan_fields
from indexer.plain_values import check_names, to_plain_row, to_text
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

        Raises InvalidInput, TooLarge, StorageFull.
        """
        sample, problem = _sample(open_file, filename, self.spool)
        if not sample:
            raise InvalidInput(f"File {filename!r} holds no readable row: {problem}")
        columns = list(dict.fromkeys(column for row in sample for column in row))
        check_names(columns)
        return plan_fields(sample, columns, fields)

    def items(
        self, open_file: OpenFile, filename: str, plan: ImportPlan, skip_rows: int
    ) -> Iterator[Mapping[str, object] | RejectedItem]:
        """One document mapping, or the reason it cannot be read, a row, after the first `skip_rows` of them.

        Raises InvalidInput when the file turns out to be damaged further on, TooLarge, StorageFull.
        """
        from indexer.readers import open_rows

        for number, row in open_rows(open_file, filename, skip_rows, spool=self.spool):
            yield to_item(number, row, plan)


def to_item(number: int, row: Row | RejectedItem, plan: ImportPlan) -> Mapping[str, object] | RejectedItem:
    """`{"id", "text", "title", "metadata"}` of row `number`; missing values are left out of the metadata.

    Nothing is validated here but what cannot become JSON at all, and the length of the whole row.
    """
    values = _plain_row(number, row)
    if isinstance(values, RejectedItem):
        return values
    id_ = to_text(values.get(plan.id_field)) if plan.id_field else f"row-{number}"
    if not id_:
        return RejectedItem(None, f"row {number}: column {plan.id_field!r}, which holds the id, is empty")
    title = to_text(values.get(plan.title_field)) if plan.title_field else None
    text = to_text(values.get(plan.text_field)) or ""
    return {"id": id_, "text": text, "title": title or "", "metadata": _metadata(values, plan)}


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


def _sample(open_file: OpenFile, filename: str, spool: Spool) -> tuple[list[dict[str, Any]], str]:
    """Plain rows from the beginning of the file, and what is wrong with the first that is unreadable."""
    from indexer.readers import open_rows  # pyarrow costs 40 MB, which most processes never need
    from indexer.streams import UnpackedTooLarge

    rows: list[dict[str, Any]] = []
    problem, room = "", SAMPLE_CHARACTERS
    try:
        numbered = open_rows(open_file, filename, max_bytes=SAMPLE_BYTES, spool=spool)
        for number, row in islice(numbered, SAMPLE_ROWS):
            plain = _plain_row(number, row)
            if isinstance(plain, RejectedItem):
                problem = problem or plain.reason
                continue
            rows.append(plain)
            room -= count_characters(plain)
            if room <= 0:
                break
    except UnpackedTooLarge:
        if not rows:
            found = problem or "only blank lines, or a row that is too long"
            raise TooLarge(
                f"The first {SAMPLE_BYTES >> 20} MiB of file {filename!r} hold no readable row: {found}"
            ) from None
    return rows, problem or "it has no rows"


def _plain_row(number: int, row: Row | RejectedItem) -> dict[str, Any] | RejectedItem:
    if isinstance(row, RejectedItem):
        return row
    try:
        return to_plain_row(row)
    except ValueError as error:
        return RejectedItem(None, f"row {number}: {error}")
