"""Use case import: read an uploaded file row by row into documents; resumes where it stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from core.documents import count_characters, validate_document
from core.errors import Conflict, InvalidInput, NotFound, Overloaded, Overtaken, TooLarge, Unavailable
from core.ingest import IngestService, describe_error, request_details
from core.job_types import ATTEMPTS, ImportFields, ImportPlan, Job, JobKind, Task, TaskKind
from core.ports.stores import CollectionStore
from core.ports.work import ImportReader, UploadStore
from core.types import Collection, NewDocument, RejectedItem

log = logging.getLogger(__name__)

ROWS_PER_TRANSACTION = 512
SMALL_ROWS = 1024  # of a file that are not bulk: a small file does not wait for what a large one has brought
CHARACTERS_PER_TRANSACTION = 8 * 1024 * 1024
MAX_ATTEMPTS = 10  # in a row without progress, also those that ended with the process
MAX_REASON_CHARACTERS = 1000
MAX_FILENAME_CHARACTERS = 255
PAUSE_S = 0.2
NOT_THERE = (
    "The uploaded file is not in the store of uploads; upload it again. If that is of no use, the server and"
    " its workers keep uploads in different places: COGNATE_UPLOAD_URL must name one that all of them reach."
)


@dataclass(frozen=True, slots=True)
class ImportService:
    """Reads files of the store `uploads`, which jobs name.

    No more is read while over `max_waiting_batches` wait in the database, from whichever process.
    `is_stopping` lets a long import end early; it goes on from its last transaction at the next start.
    `owed` are jobs whose attempt could not be taken back while the database was away.
    """

    ingest: IngestService
    collections: CollectionStore
    reader: ImportReader
    uploads: UploadStore
    max_waiting_batches: int
    is_stopping: Callable[[], bool]
    owed: set[str] = field(default_factory=set)

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

        Any other error is raised, to be tried again; at the tenth without progress the job fails with it. An
        attempt that ended with the process counts too; an outage or a stop does not.
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
                return self._attempt(job)
            self.ingest.jobs.fail(job.id, NOT_THERE)
        except Overtaken:
            log.warning("another process reads the same import; leaving it", extra={"job_id": job.id})
            return False
        except (Conflict, NotFound):  # cancelled, or the collection was deleted
            pass
        except (InvalidInput, TooLarge) as error:
            self.ingest.jobs.fail(job.id, str(error))
        return True

    def _attempt(self, job: Job) -> bool:
        """Whether the file is needed no more. The attempt is counted until its first progress."""
        if not self._wait_for_room(job.id):
            return False
        with (
            self.ingest.turns.long()
        ):  # no attempt is blamed for a batch that ends the process, nor the reverse
            return self._counted_attempt(job)

    def _counted_attempt(self, job: Job) -> bool:
        details = self._begin(job)
        attempts = details[ATTEMPTS]
        if attempts > MAX_ATTEMPTS:
            self._give_up(job.id, f"given up after {MAX_ATTEMPTS} attempts; the log says what ended them")
            return True
        try:
            return self._read(job, details)
        except (Unavailable, Overloaded):
            self._take_back(job.id)
            raise
        except (Conflict, NotFound, InvalidInput, TooLarge):
            raise
        except Exception as error:
            if attempts < MAX_ATTEMPTS or not self._is_counted(job.id):
                raise
            reason = f"could not be imported after {attempts} attempts: {describe_error(error)}"
            self._give_up(job.id, reason, error)
            return True

    def _begin(self, job: Job) -> Mapping[str, Any]:
        """Counts an attempt on the job, where it outlives the process; the job's details with it."""
        before = job.details.get(ATTEMPTS, 0) - (job.id in self.owed)
        counted = {**job.details, ATTEMPTS: max(0, before) + 1}
        self._note(job.id, counted, job.details)
        self.owed.discard(job.id)
        return counted

    def _take_back(self, job_id: str) -> None:
        """Makes the attempt uncounted, unless progress did; if the database is away, at the next attempt."""
        try:
            details = self.ingest.jobs.get(job_id).details
            attempts = details.get(ATTEMPTS, 0)
            if attempts:
                self._note(job_id, {**details, ATTEMPTS: attempts - 1}, details)
        except (Conflict, NotFound):  # it is over, or another process reads it
            pass
        except Exception:  # what led here is to be told
            log.warning("attempt not taken back yet", extra={"job_id": job_id}, exc_info=True)
            self.owed.add(job_id)

    def _is_counted(self, job_id: str) -> bool:
        """Whether there was no progress since the attempt began."""
        return ATTEMPTS in self.ingest.jobs.get(job_id).details

    def _note(self, job_id: str, details: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        self.ingest.documents.accept(job_id, [], [], details, is_last=False, expected=expected)

    def _give_up(self, job_id: str, reason: str, error: Exception | None = None) -> None:
        log.error("import given up", extra={"job_id": job_id, "reason": reason}, exc_info=error)
        self.ingest.jobs.fail(job_id, reason)

    def _read(self, job: Job, before: Mapping[str, Any]) -> bool:
        """Whether the end of the file was reached; False when the process stops, after some progress.

        Each transaction adds rows and the position after them, and finds the position before: a crash
        neither skips nor repeats a row, and of two processes that read one file only one goes on.
        """
        collection = self.collections.get(job.collection)
        details = {name: value for name, value in before.items() if name != ATTEMPTS}
        file, plan = details["file"], _plan(details["fields"])
        rows = self.reader.items(
            lambda: self.uploads.open(file), details["filename"], plan, details["rows_read"]
        )
        for chunk in _chunks(self._checked(row) for row in rows):
            details = details | {"rows_read": details["rows_read"] + len(chunk)}
            self._accept(collection, job.id, chunk, (before, details))
            before = details
            with self.ingest.turns.paused():
                goes_on = self._wait_for_room(job.id)
            if not goes_on:
                return False
        accepted = self.ingest.documents.accept(job.id, [], [], details, is_last=True, expected=before)
        self.ingest.announce(collection.id, accepted, is_bulk=True)
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
        self.ingest.announce(collection.id, accepted, is_bulk=after["rows_read"] > SMALL_ROWS)

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
