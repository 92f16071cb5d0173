"""Use case import: read an uploaded file row by row into documents; resumes where it stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from core.documents import validate_document
from core.errors import Conflict, InvalidInput, NotFound, Overloaded, Overtaken, TooLarge, Unavailable
from core.ingest import IngestService, describe_error, request_details
from core.ports.stores import CollectionStore
from core.ports.work import ImportReader, UploadStore
from core.types import (
    Collection,
    ImportFields,
    ImportPlan,
    Job,
    JobKind,
    NewDocument,
    RejectedItem,
    Task,
    TaskKind,
)

log = logging.getLogger(__name__)

ROWS_PER_TRANSACTION = 512
CHARACTERS_PER_TRANSACTION = 8 * 1024 * 1024
MAX_ATTEMPTS = 5
MAX_REASON_CHARACTERS = 1000
MAX_FILENAME_CHARACTERS = 255
PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class ImportService:
    """Reads files of the store `uploads`, which jobs name.

    No more is read while over `max_waiting_batches` wait in the database, from whichever process.
    `is_stopping` lets a long import end early; it goes on from its last transaction at the next start.
    """

    ingest: IngestService
    collections: CollectionStore
    reader: ImportReader
    uploads: UploadStore
    max_waiting_batches: int
    is_stopping: Callable[[], bool]

    def start(
        self, collection: Collection, name: str, filename: str, fields: ImportFields, request_id: str = ""
    ) -> Job:
        """Checks the beginning of the stored upload `name` and queues the import.

        The job keeps `request_id`, so that the logs of its work name it. In `filename`, "?" replaces
        characters that cannot be stored. Raises InvalidInput, TooLarge.
        """
        filename = _storable(filename)
        plan = self.reader.plan(lambda: self.uploads.open(name), filename, fields)
        details = {"file": name, "filename": filename, "fields": asdict(plan), "rows_read": 0}
        details |= request_details(request_id)
        job = self.ingest.jobs.create(collection.id, JobKind.IMPORT, details)
        log.info("import accepted", extra={"job_id": job.id, "file_name": filename})
        self.ingest.queue.enqueue([Task(TaskKind.IMPORT_FILE, job.id)])
        return job

    def run(self, job_id: str) -> None:
        """Imports the rest of the file; a damaged file ends the job, what was read before stays.

        Any other error is raised, to be tried again; at the fifth without progress the job fails with it.
        """
        try:
            job = self.ingest.jobs.get(job_id)
        except NotFound:
            return
        if self._finish(job):
            self.uploads.delete(job.details["file"])

    def remove_orphans(self, older_than: timedelta) -> int:
        """Deletes uploads that no import will read, left by a crash before the job; how many those were.

        Younger ones stay: another process may be receiving them.
        """
        before = datetime.now(UTC) - older_than
        old = [upload.name for upload in self.uploads.list() if upload.modified <= before]
        wanted = {job.details["file"] for job in self.ingest.jobs.reading()} if old else set()
        orphans = [name for name in old if name not in wanted]
        for name in orphans:
            self.uploads.delete(name)
        return len(orphans)

    def _finish(self, job: Job) -> bool:
        """Whether the file is needed no more."""
        if job.state.is_final or job.is_read:
            return True
        try:
            if self.uploads.exists(job.details["file"]):
                return self._read(job)
            self.ingest.jobs.fail(job.id, "The uploaded file is gone from the store; upload it again.")
        except (Unavailable, Overloaded):
            raise
        except Overtaken:
            log.warning("another process reads the same import; leaving it", extra={"job_id": job.id})
            return False
        except (Conflict, NotFound):  # cancelled, or the collection was deleted
            pass
        except (InvalidInput, TooLarge) as error:
            self.ingest.jobs.fail(job.id, str(error))
        except Exception as error:
            if not self._give_up(job.id, error):
                raise
        return True

    def _give_up(self, job_id: str, error: Exception) -> bool:
        """Counts a failure on the job, where it outlives a restart; at the fifth in a row the job fails."""
        details = dict(self.ingest.jobs.get(job_id).details)
        attempts = details.get("attempts", 0) + 1
        if attempts < MAX_ATTEMPTS:
            counted = details | {"attempts": attempts}
            self.ingest.documents.accept(job_id, [], [], counted, is_last=False, expected=details)
            return False
        log.error("import given up", extra={"job_id": job_id, "attempt": attempts}, exc_info=error)
        reason = f"could not be imported after {attempts} attempts: {describe_error(error)}"
        self.ingest.jobs.fail(job_id, reason)
        return True

    def _read(self, job: Job) -> bool:
        """Whether the end of the file was reached.

        Each transaction adds rows and the position after them, and finds the position before: a crash
        neither skips nor repeats a row, and of two processes that read one file only one goes on.
        """
        collection = self.collections.get(job.collection)
        before = job.details
        details = {name: value for name, value in before.items() if name != "attempts"}
        file, plan = details["file"], _plan(details["fields"])
        rows = self.reader.items(
            lambda: self.uploads.open(file), details["filename"], plan, details["rows_read"]
        )
        for chunk in _chunks(self._checked(row) for row in rows):
            if not self._wait_for_room(job.id):
                return False
            details = details | {"rows_read": details["rows_read"] + len(chunk)}
            self._accept(collection, job.id, chunk, (before, details))
            before = details
        accepted = self.ingest.documents.accept(job.id, [], [], details, is_last=True, expected=before)
        self.ingest.announce(collection.id, accepted)
        log.info("import read", extra={"job_id": job.id, "rows": details["rows_read"]})
        return True

    def _checked(self, row: Mapping[str, object] | RejectedItem) -> NewDocument | RejectedItem:
        if isinstance(row, RejectedItem):
            return RejectedItem(row.id, row.reason[:MAX_REASON_CHARACTERS])
        try:
            return validate_document(row, self.ingest.limits)
        except InvalidInput as error:
            return RejectedItem(str(row.get("id", ""))[:512], str(error)[:MAX_REASON_CHARACTERS])

    def _accept(
        self,
        collection: Collection,
        job_id: str,
        chunk: Sequence[NewDocument | RejectedItem],
        step: tuple[Mapping[str, Any], Mapping[str, Any]],
    ) -> None:
        """Adds a chunk that takes the job's details from the first of `step` to the second."""
        before, after = step
        documents = [item for item in chunk if isinstance(item, NewDocument)]
        rejected = [item for item in chunk if isinstance(item, RejectedItem)]
        accepted = self.ingest.documents.accept(
            job_id, documents, rejected, after, is_last=False, expected=before
        )
        self.ingest.announce(collection.id, accepted)

    def _wait_for_room(self, job_id: str) -> bool:
        """False when the process stops while too much waits. Raises Conflict once the job is over."""
        while self.ingest.batches.waiting() > self.max_waiting_batches:
            if self.is_stopping():
                return False
            if self.ingest.jobs.get(job_id).state.is_final:
                raise Conflict(f"job {job_id} was cancelled")
            time.sleep(PAUSE_S)
        return not self.is_stopping()


def _chunks(
    items: Iterable[NewDocument | RejectedItem],
) -> Iterator[list[NewDocument | RejectedItem]]:
    """The items in groups, each within the limits of a transaction (but for one larger item)."""
    chunk: list[NewDocument | RejectedItem] = []
    room = CHARACTERS_PER_TRANSACTION
    for item in items:
        chunk.append(item)
        if isinstance(item, NewDocument):
            room -= len(item.title) + len(item.text) + count_characters(item.metadata)
        if room <= 0 or len(chunk) == ROWS_PER_TRANSACTION:
            yield chunk
            chunk, room = [], CHARACTERS_PER_TRANSACTION
    if chunk:
        yield chunk


def count_characters(value: object) -> int:
    """About how many characters a plain JSON value takes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + count_characters(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(count_characters, value), len(value))
    return 8


def _storable(filename: str) -> str:
    """The end of the name, which tells the format, without what no database takes."""
    return filename.encode(errors="replace").decode().replace("\0", "?")[-MAX_FILENAME_CHARACTERS:]


def _plan(fields: Mapping[str, Any]) -> ImportPlan:
    return ImportPlan(
        fields["id_field"],
        fields["text_field"],
        fields["title_field"],
        tuple(fields["metadata_fields"]),
        tuple(fields["guessed"]),
    )
