"""Decides what accepting a document means, given what is stored of it. Pure functions, no SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from core.types import DocumentState, NewDocument

MAX_BATCH_DOCUMENTS = 256
MAX_BATCH_CHARACTERS = 256 * 1024  # of titles and texts; one longer document is a batch of its own


class Action(Enum):
    """What becomes of a document that was sent."""

    INSERT = auto()  # never seen: a new pending row
    RENEW = auto()  # not searchable: its row takes the new content and is pending
    REVISE = auto()  # searchable: the new content waits beside the old version
    JOIN = auto()  # the same content already awaits encoding: this job waits for it too
    RETAG = auto()  # searchable with this content: new metadata apply at once
    SAME = auto()  # searchable exactly so

    @property
    def needs_encoding(self) -> bool:
        return self in (Action.INSERT, Action.RENEW, Action.REVISE)


@dataclass(frozen=True, slots=True)
class Hashed:
    """A document with its hashes, computed once; `items` of what was sent had its id, and it was the last."""

    document: NewDocument
    content_hash: str
    metadata_hash: str
    items: int = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of a document. `is_awaited`: it has a row in `revisions`."""

    id: int
    state: DocumentState
    seq: int
    content_hash: str
    metadata_hash: str
    is_awaited: bool
    revised_content_hash: str | None

    @property
    def awaited_content_hash(self) -> str | None:
        """Hash of the content that awaits encoding."""
        return self.revised_content_hash or self.content_hash if self.is_awaited else None


@dataclass(frozen=True, slots=True)
class Change:
    """A document, what is stored of it, and what to do."""

    new: Hashed
    stored: Stored | None
    action: Action

    @property
    def document_id(self) -> int:
        """Id of the stored row; only for documents that have one."""
        assert self.stored is not None
        return self.stored.id


def decide(new: Hashed, stored: Stored | None) -> Change:
    """What to do with a document."""
    return Change(new, stored, _action(new, stored))


def _action(new: Hashed, stored: Stored | None) -> Action:
    if stored is None:
        return Action.INSERT
    if stored.awaited_content_hash == new.content_hash:
        return Action.JOIN
    if stored.state is not DocumentState.SEARCHABLE:
        return Action.RENEW
    if stored.content_hash != new.content_hash:
        return Action.REVISE
    return Action.SAME if stored.metadata_hash == new.metadata_hash else Action.RETAG


def hash_documents(documents: Sequence[NewDocument]) -> list[Hashed]:
    """Documents with distinct ids, of each the last."""
    items = Counter(document.external_id for document in documents)
    last = {document.external_id: document for document in documents}
    return [
        Hashed(document, document.content_hash, document.metadata_hash, items[external_id])
        for external_id, document in last.items()
    ]


def cut_batches(changes: Sequence[Change]) -> list[list[Change]]:
    """Groups in the given order, each within the limits of a batch."""
    batches: list[list[Change]] = []
    room = 0
    for change in changes:
        size = len(change.new.document.title) + len(change.new.document.text)
        if not batches or size > room or len(batches[-1]) == MAX_BATCH_DOCUMENTS:
            batches.append([])
            room = MAX_BATCH_CHARACTERS
        batches[-1].append(change)
        room -= size
    return batches
