"""Ports of work in the background, and of the files it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Protocol, TypeAlias

from core.job_types import ImportFields, ImportPlan, StoredUpload, Task
from core.types import RejectedItem

OpenFile: TypeAlias = Callable[[], BinaryIO]  # opens one file for reading, seekable, as often as called


class TaskQueue(Protocol):
    def enqueue(self, tasks: Sequence[Task]) -> None:
        """Called after commit; a task may be delivered more than once."""
        ...

    def depth(self) -> int:
        """Tasks waiting."""
        ...


class Notifier(Protocol):
    """Tells followers that a collection has news; losing a message only costs a polling interval."""

    def publish(self, collection_id: int, seq: int) -> None: ...

    def subscribe(self, listener: Callable[[int, int], None]) -> None:
        """`listener(collection_id, seq)` may be called from any thread and must return at once."""
        ...

    def request_compaction(self) -> None:
        """Asks all followers to tidy their indexes up; losing it costs the time until the next request."""
        ...

    def subscribe_compaction(self, listener: Callable[[], None]) -> None:
        """`listener` may be called from any thread and must return at once."""
        ...


class UploadWriter(Protocol):
    """One upload, written aside: it is there under its name when committed, whole, or never.

    All methods may block. `write` and `commit` raise StorageFull, or Unavailable.
    """

    def write(self, block: bytes) -> None: ...

    def commit(self) -> None: ...

    def discard(self) -> None:
        """Leaves nothing behind, as far as the store can be reached. Raises nothing."""
        ...


class UploadStore(Protocol):
    """Uploaded files until they are imported. All methods raise Unavailable when the store fails."""

    def create(self, name: str) -> UploadWriter: ...

    def open(self, name: str) -> BinaryIO:
        """For reading, seekable; reading raises Unavailable too. Raises NotFound."""
        ...

    def exists(self, name: str) -> bool: ...

    def delete(self, name: str) -> None:
        """Does nothing when there is no such file."""
        ...

    def list(self) -> list[StoredUpload]:
        """All files, unfinished ones too."""
        ...


class ImportReader(Protocol):
    """Reads rows of an uploaded file in bounded memory."""

    def plan(self, open_file: OpenFile, filename: str, fields: ImportFields) -> ImportPlan:
        """Which columns hold what, guessed where `fields` is silent. Raises InvalidInput."""
        ...

    def items(
        self, open_file: OpenFile, filename: str, plan: ImportPlan, skip_rows: int
    ) -> Iterator[Mapping[str, object] | RejectedItem]:
        """One document mapping, or the reason it cannot be read, a row. Raises InvalidInput."""
        ...
