"""Texts, and texts with labels, of the files that the import reads too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput
from core.job_types import ImportFields
from core.label_types import label_as_text
from core.types import RejectedItem

TABLES: Final = frozenset({".csv", ".tsv"})  # files in which null and empty are the same


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """`examples` in the shape of the contract; rows without a text or a label were left out."""

    examples: list[dict[str, Any]]
    left_out: int


def read_texts(path: Path, text_field: str | None) -> Iterator[dict[str, str]]:
    """`{"id", "text"}` of each row with a text, in bounded memory. Raises InvalidInput, TooLarge."""
    for item in _rows(path, text_field, ()):
        if str(item["text"]).strip():
            yield {"id": str(item["id"]), "text": str(item["text"])}


def read_labelled(
    path: Path, text_field: str | None, label_field: str, separator: str, may_be_none: bool = False
) -> LabelledFile:
    """All rows with text and label. `separator` splits texts that hold several labels; empty splits none.

    `may_be_none`: an empty list or cell of a table says that the text has no label; null says nothing.
    Raises InvalidInput, TooLarge.
    """
    examples, left_out = [], 0
    has_cells = not TABLES.isdisjoint(suffix.lower() for suffix in path.suffixes)
    for item in _rows(path, text_field, (label_field,)):
        value = item["metadata"].get(label_field)
        labels = _labels(value, separator)
        is_labelled = labels or (may_be_none and (has_cells or value is not None))
        if is_labelled and item["text"].strip():
            examples.append({"text": item["text"], "labels": labels})
        else:
            left_out += 1
    return LabelledFile(examples, left_out)


def _labels(value: Any, separator: str) -> list[str]:
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    texts = [label_as_text(one) for one in values if one is not None]
    if separator:
        texts = [part.strip() for text in texts for part in text.split(separator)]
    return [text for text in texts if text.strip()]


def _rows(path: Path, text_field: str | None, metadata: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    from indexer.imports import FileImportReader  # the heavy rooms are loaded by the commands that need them

    reader = FileImportReader()
    fields = ImportFields(text_field=text_field, metadata_fields=metadata)
    plan = reader.plan(lambda: path.open("rb"), path.name, fields)
    for item in reader.items(lambda: path.open("rb"), path.name, plan, 0):
        if isinstance(item, RejectedItem):
            raise InvalidInput(f"{path.name}: {item.reason}")
        yield item
