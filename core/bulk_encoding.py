"""Encoding of many passages in slices, so that the work can be told of and ended between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.types import PassageText

SLICE_CHARACTERS = 128 * 1024  # encoded between two checks: a second or two on two cores


def slices(passages: Sequence[PassageText], characters: int = SLICE_CHARACTERS) -> Iterator[slice]:
    """Ranges of passages of about so many characters; one empty range if there are no passages."""
    start = size = 0
    for end, passage in enumerate(passages):
        size += len(passage.title) + len(passage.text)
        if size >= characters:
            yield slice(start, end + 1)
            start, size = end + 1, 0
    if start < len(passages) or not passages:
        yield slice(start, len(passages))
