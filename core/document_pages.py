"""How much of a list of documents stands on a page: they may be large, and are held together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from core.documents import count_characters
from core.types import Document

PAGE_CHARACTERS: Final = 8 * 1024 * 1024


def page_of(documents: Iterable[Document]) -> list[Document]:
    """The first of them, up to the one with which they reach `PAGE_CHARACTERS`."""
    page: list[Document] = []
    room = PAGE_CHARACTERS
    for document in documents:
        page.append(document)
        room -= _characters(document)
        if room <= 0:
            break
    return page


def is_full(page: Sequence[Document], limit: int) -> bool:
    """Whether `page_of` at most `limit` documents may have left some out."""
    return len(page) == limit or sum(map(_characters, page)) >= PAGE_CHARACTERS


def _characters(document: Document) -> int:
    return len(document.title) + len(document.text) + count_characters(document.metadata)
