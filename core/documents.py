"""Checks one document as a caller sent it; a bad one is refused alone, with the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from core.types import NewDocument, RejectedItem

FIELDS = ("id", "text", "title", "metadata")


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """What one document may hold; sizes are UTF-8 bytes."""

    max_id_bytes: int = 512
    max_text_bytes: int = 1024 * 1024
    max_title_bytes: int = 4096
    max_metadata_bytes: int = 65_536
    max_metadata_depth: int = 8


def validate_document(item: object, limits: DocumentLimits) -> NewDocument:
    """The document in `item`, a mapping of id, text and optionally title and metadata.

    Raises InvalidInput saying what was found, what is expected and, where it is a limit, the limit.
    """
    if not isinstance(item, Mapping):
        raise InvalidInput(f"A document must be an object with id and text, not {_kind(item)}.")
    unknown = sorted(str(key) for key in item if key not in FIELDS)
    if unknown:
        raise InvalidInput(f"Unknown field {unknown[0]!r}; a document has {', '.join(FIELDS)}.")
    external_id = _string(item, "id", limits.max_id_bytes)
    text = _string(item, "text", limits.max_text_bytes)
    if not text.strip():
        raise InvalidInput("'text' is empty or white space; there is nothing to embed.")
    title = _string(item, "title", limits.max_title_bytes) if item.get("title") is not None else ""
    metadata = item.get("metadata")
    if metadata is None:
        metadata = {}
    _check_metadata(metadata, limits)
    return NewDocument(external_id, text, title, metadata)


def validate_batch(
    items: Sequence[object], limits: DocumentLimits
) -> tuple[list[NewDocument], list[RejectedItem]]:
    """Good documents and refused items of one call, each in order.

    Raises InvalidInput when two items share an id, be they good or bad (which one is meant cannot be
    known), or when no item is good.
    """
    documents: list[NewDocument] = []
    rejected: list[RejectedItem] = []
    ids: list[str] = []  # of all items that have a valid one
    for item in items:
        try:
            documents.append(validate_document(item, limits))
            ids.append(documents[-1].external_id)
        except InvalidInput as error:
            rejected.append(RejectedItem(_id_of(item), str(error)))
            ids += _valid_ids(item, limits)
    _refuse_duplicates(ids)
    if not documents:
        raise InvalidInput(
            f"None of the {len(items)} documents can be accepted. First: {rejected[0].reason}",
            [{"id": item.id, "reason": item.reason} for item in rejected[:100]],
        )
    return documents, rejected


def _valid_ids(item: object, limits: DocumentLimits) -> list[str]:
    """The id of a bad item, if that at least is as it should be."""
    try:
        return [_string(item, "id", limits.max_id_bytes)] if isinstance(item, Mapping) else []
    except InvalidInput:
        return []


def _refuse_duplicates(ids: Sequence[str]) -> None:
    seen: set[str] = set()
    duplicates: set[str] = set()
    for external_id in ids:
        (duplicates if external_id in seen else seen).add(external_id)
    if duplicates:
        raise InvalidInput(
            f"{len(duplicates)} id(s) occur more than once in this call, for example"
            f" {min(duplicates)!r}; send each document once.",
            [{"id": duplicate, "reason": "duplicate id"} for duplicate in sorted(duplicates)[:100]],
        )


def _string(item: Mapping[str, object], field: str, max_bytes: int) -> str:
    if field not in item:
        raise InvalidInput(f"Field {field!r} is missing; a document needs id and text.")
    value = item[field]
    if not isinstance(value, str):
        raise InvalidInput(f"{field!r} must be a string, not {_kind(value)}.")
    size = len(check_text(value, repr(field)))
    if size > max_bytes:
        raise InvalidInput(f"{field!r} has {size:,} bytes; the limit is {max_bytes:,}.")
    if size == 0 and field == "id":
        raise InvalidInput("'id' is empty; give every document an id of 1 to 512 bytes.")
    return value


def check_text(value: str, name: str) -> bytes:
    """UTF-8 of `value`. Raises InvalidInput on NUL and lone surrogates, which no database can store."""
    if "\x00" in value:
        position = value.index("\x00")
        raise InvalidInput(f"{name} has a NUL character at position {position}; remove it.")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} has a lone surrogate (half of a UTF-16 pair) at position {error.start};"
            " send valid Unicode."
        ) from None


def count_characters(value: object) -> int:
    """About how many characters a plain JSON value takes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + count_characters(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(count_characters, value), len(value))
    return 8


def _check_metadata(metadata: object, limits: DocumentLimits) -> None:
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"'metadata' must be an object, not {_kind(metadata)}.")
    size = _check_value(metadata, "metadata", limits.max_metadata_depth, limits)
    if size > limits.max_metadata_bytes:
        raise InvalidInput(
            f"'metadata' has about {size:,} bytes; the limit is {limits.max_metadata_bytes:,}."
        )


def _check_value(value: Any, path: str, depth: int, limits: DocumentLimits) -> int:
    """Approximate size in bytes of a JSON value, after checking it."""
    if isinstance(value, str):
        return len(check_text(value, f"'{path}'"))
    if value is None or isinstance(value, bool | int):
        return 8 if value is None or -(2**63) <= value < 2**63 else _refuse_integer(path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"'{path}' is {value}; JSON numbers must be finite.")
        return 8
    if depth == 0:
        raise InvalidInput(
            f"'metadata' is nested deeper than {limits.max_metadata_depth} levels; flatten it."
        )
    if isinstance(value, Mapping):
        return sum(
            len(check_text(key, f"a key of '{path}'"))
            + _check_value(inner, f"{path}.{key}", depth - 1, limits)
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return sum(_check_value(inner, f"{path}[{i}]", depth - 1, limits) for i, inner in enumerate(value))
    raise InvalidInput(f"'{path}' is of type {_kind(value)}; use JSON values.")


def _refuse_integer(path: str) -> int:
    raise InvalidInput(f"'{path}' is an integer beyond 64 bits; send it as a string.")


def _id_of(item: object) -> str | None:
    found = item.get("id") if isinstance(item, Mapping) else None
    return found.encode(errors="replace")[:512].decode(errors="ignore") if isinstance(found, str) else None


def _kind(value: object) -> str:
    names = {
        "dict": "an object",
        "list": "an array",
        "str": "a string",
        "NoneType": "null",
        "bool": "a boolean",
    }
    return names.get(
        type(value).__name__, "a number" if isinstance(value, int | float) else type(value).__name__
    )
