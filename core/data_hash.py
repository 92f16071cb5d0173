"""Identity of what a head was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from core.classifier_types import LabelledText, StoredExample


def data_hash(examples: Iterable[LabelledText | StoredExample]) -> str:
    """sha256 over texts and labels, whatever their order."""
    lines = sorted("\0".join((example.text, *sorted(example.labels))) for example in examples)
    return hashlib.sha256("\0\0".join(lines).encode()).hexdigest()
