"""How much stands on a page: documents may have thousands of passages each, all read together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PAGE_PASSAGES: Final = 16_384  # some 50 MB of texts and vectors


def fitting(passage_counts: Iterable[int]) -> int:
    """How many documents, from the first, have no more passages than a page holds; one at least."""
    room, documents = PAGE_PASSAGES, 0
    for count in passage_counts:
        room -= count
        if room < 0 and documents:
            break
        documents += 1
    return documents
