"""What the service adds to documents' metadata: readers see it over what the caller sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.classifier_types import GivenLabel
from core.types import Metadata

CONFIDENCE_SUFFIX: Final = "_confidence"
CONFIDENCE_DIGITS: Final = 6


def annotated(metadata: Metadata, annotations: Mapping[str, Any] | None) -> Metadata:
    """The metadata as readers see them."""
    return {**metadata, **annotations} if annotations else metadata


def label_annotations(field: str, label: GivenLabel) -> dict[str, Any]:
    """A label as annotations: its text, or a list where there may be several; null when none was given."""
    value: Any = list(label.labels) if label.is_multi else next(iter(label.labels), None)
    return {field: value, field + CONFIDENCE_SUFFIX: round(float(label.confidence), CONFIDENCE_DIGITS)}
