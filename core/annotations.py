"""What the service adds to documents' metadata: readers see it over what the caller sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.classifier_types import GivenLabel
from core.filters import joined_path
from core.types import Metadata

CONFIDENCE_SUFFIX: Final = "_confidence"
CONFIDENCE_DIGITS: Final = 6


def annotated(metadata: Metadata, annotations: Mapping[str, Any] | None) -> Metadata:
    """The metadata as readers see them: annotations lie at the top, under their whole name.

    What the metadata hold in a field of that name is left out, also where it lies in nested objects.
    """
    if not annotations:
        return metadata
    return {**_without(metadata, annotations, ""), **annotations}


def held(values: Mapping[str, Any], field: str, path: str = "") -> Iterator[Any]:
    """What the metadata hold in a field of that name, also in nested objects, whose own path is `path`."""
    for key, value in values.items():
        inner = joined_path(path, key)
        if inner == field:
            yield value
        elif field.startswith(f"{inner}."):
            for one in value if isinstance(value, list) else [value]:
                yield from held(one, field, inner) if isinstance(one, Mapping) else ()


def _without(values: Mapping[str, Any], fields: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The object at `path` without what is in one of the fields."""
    kept = {}
    for key, value in values.items():
        inner = joined_path(path, key)
        if inner not in fields:
            kept[key] = _pruned(value, fields, inner)
    return kept


def _pruned(value: Any, fields: Mapping[str, Any], path: str) -> Any:
    if not isinstance(value, Mapping | list) or not _leads_to(path, fields):
        return value
    if isinstance(value, Mapping):
        return _without(value, fields, path)
    return [_pruned(one, fields, path) for one in value]


def _leads_to(path: str, fields: Mapping[str, Any]) -> bool:
    return not path or any(field.startswith(f"{path}.") for field in fields)


def label_annotations(field: str, label: GivenLabel) -> dict[str, Any]:
    """A label as annotations: its text, or a list where there may be several; null when none was given."""
    value: Any = list(label.labels) if label.is_multi else next(iter(label.labels), None)
    return {field: value, field + CONFIDENCE_SUFFIX: round(float(label.confidence), CONFIDENCE_DIGITS)}


def without_label(annotations: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The annotations without the label of that field."""
    return {
        name: value for name, value in annotations.items() if name not in (field, field + CONFIDENCE_SUFFIX)
    }
