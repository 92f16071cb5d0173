"""What a backup is, and what the use case of backups needs from the other rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.types import Collection, DocumentCounts, EncoderInfo


@dataclass(frozen=True, slots=True)
class SavedCollection:
    """A collection as a backup holds it: the state of one moment, at `seq` of its change log."""

    name: str
    encoder: EncoderInfo
    seq: int
    documents: DocumentCounts


@dataclass(frozen=True, slots=True)
class SavedClassifier:
    """A classifier as a backup holds it; `examples` and `versions` say how many."""

    name: str
    examples: int
    versions: int


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup in the store; `problem` says why it cannot be used, then the rest is not known."""

    name: str
    bytes: int
    created_at: datetime
    application: str = ""
    collections: tuple[SavedCollection, ...] = ()
    classifiers: tuple[SavedClassifier, ...] = ()
    problem: str | None = None

    @property
    def documents(self) -> int:
        return sum(collection.documents.total for collection in self.collections)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """`collection` None restores all, classifiers too; `new_name` names the one that is restored otherwise.

    `replace`: what has the same name gives way; without it the restore is refused.
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


class Indexing(Protocol):
    """The indexes of this process, as far as a restore needs them."""

    def prepare(self, collection: Collection, timeout_s: float) -> bool:
        """Indexes a collection that is whole but not shown yet; True once all up to its seq is applied."""
        ...

    def release(self, collection: Collection) -> None:
        """To be called when a collection that was prepared is shown, or never will be."""
        ...


class NoIndexing:
    """`Indexing` of a process without indexes: others serve the collection, in their own time."""

    def prepare(self, collection: Collection, timeout_s: float) -> bool:
        return True

    def release(self, collection: Collection) -> None:
        pass


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

    def made_by(self, job_id: str, name: str) -> Backup | None:
        """The backup of this name if it is whole and this job made it."""
        ...

    def withdraw(self, job_id: str, name: str) -> None:
        """Removes the backup of this name if this job made it."""
        ...

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        """Writes a backup of these collections, or of all and of all classifiers.

        Raises NotFound, Conflict when there is one of this name, StorageFull.
        """
        ...

    def remove_abandoned(self) -> None:
        """Removes what killed processes left of backups that will never be whole."""
        ...

    def verify(self, name: str, going: Going) -> Backup:
        """Reads every byte and compares the checksums. Raises NotFound, InvalidInput."""
        ...

    def restore(self, job_id: str, name: str, moves: Sequence[Move], going: Going) -> Iterator[Restored]:
        """Brings collections back one after the other, each whole or not at all, and notes it on the job.

        Each is indexed in this process before it is shown. Raises NotFound, InvalidInput, Conflict.
        """
        ...

    def check_classifiers(self, names: Sequence[str], replace: bool) -> None:
        """Raises Conflict where one cannot be restored now: its name is taken, or it is in training."""
        ...

    def restore_classifiers(
        self, job_id: str, name: str, classifiers: Sequence[str], replace: bool, going: Going
    ) -> None:
        """Brings classifiers back like `restore`, with those of their rules whose collections are there.

        Rules of collections that the same job restores afterwards come with them.
        """
        ...
