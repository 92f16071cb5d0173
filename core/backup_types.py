"""What a backup is, and what the use case of backups needs from the other rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.types import DocumentCounts, EncoderInfo


@dataclass(frozen=True, slots=True)
class SavedCollection:
    """A collection as a backup holds it: the state of one moment, at `seq` of its change log."""

    name: str
    encoder: EncoderInfo
    seq: int
    documents: DocumentCounts


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup in the store; `problem` says why it cannot be used, then the rest is not known."""

    name: str
    bytes: int
    created_at: datetime
    application: str = ""
    collections: tuple[SavedCollection, ...] = ()
    problem: str | None = None

    @property
    def documents(self) -> int:
        return sum(collection.documents.total for collection in self.collections)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """`collection` None restores all; `new_name` names the one that is restored otherwise.

    `replace`: a collection of that name gives way; without it the restore is refused.
    """

    collection: str | None = None
    new_name: str | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """A collection that is there again, and the batches that bring what was pending."""

    collection_id: int
    seq: int
    batch_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """One collection of a backup (`source`) and the name it gets."""

    source: str
    target: str
    replace: bool = False


# Told how many documents are done; raises what should end the work.
Going = Callable[[int], None]


class BackupStore(Protocol):
    """Backups, each whole or not there. All methods raise Unavailable when store or database fail."""

    def exists(self, name: str) -> bool: ...

    def list(self) -> Sequence[Backup]:
        """Newest first; what is not readable comes with its problem."""
        ...

    def get(self, name: str) -> Backup:
        """Raises NotFound, or InvalidInput when it is damaged or of a newer version."""
        ...

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        ...

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        """Writes a backup of these collections, or of all.

        Raises NotFound, Conflict when there is one of this name, StorageFull.
        """
        ...

    def verify(self, name: str, going: Going) -> Backup:
        """Reads every byte and compares the checksums. Raises NotFound, InvalidInput."""
        ...

    def restore(self, job_id: str, name: str, moves: Sequence[Move], going: Going) -> Iterator[Restored]:
        """Brings collections back one after the other, each whole or not at all, and notes it on the job.

        Raises NotFound, InvalidInput, Conflict.
        """
        ...
