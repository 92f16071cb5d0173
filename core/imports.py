"""Use case import: read an uploaded file row by row into documents; resumes where it stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from core.documents import validate_document
from core.errors import CognateError, Conflict, InvalidInput, NotFound, Unavailable
from core.ingest import IngestService
from core.ports import CollectionStore, ImportReader
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
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class ImportService:
    """`is_stopping` lets a long import end early; it goes on from its last transaction at the next start."""

    ingest: IngestService
    collections: CollectionStore
    reader: ImportReader
    max_waiting_batches: int
    is_stopping: Callable[[], bool]

    def start(self, collection: Collection, path: Path, filename: str, fields: ImportFields) -> Job:
        """Checks the file's beginning and queues the import. Raises InvalidInput."""
        plan = self.reader.plan(path, filename, fields)
        details = {"path": str(path), "filename": filename, "fields": asdict(plan), "rows_read": 0}
        job = self.ingest.jobs.create(collection.id, JobKind.IMPORT, details)
        self.ingest.queue.enqueue([Task(TaskKind.IMPORT_FILE, job.id)])
        return job

    def run(self, job_id: str) -> None:
        """Imports the rest of the file; a damaged file ends the job, what was read before stays."""
        try:
            job = self.ingest.jobs.get(job_id)
        except NotFound:
            return
        if job.state.is_final:
            return
        path = Path(job.details["path"])
        try:
            finished = self._run(job, path)
        except Unavailable:
            raise
        except (Conflict, NotFound):  # cancelled, or the collection was deleted
            finished = True
        except CognateError as error:
            self.ingest.jobs.fail(job_id, str(error))
            finished = True
        except FileNotFoundError:
            self.ingest.jobs.fail(job_id, "The uploaded file is gone from the data folder; upload it again.")
            finished = True
        if finished:
            path.unlink(missing_ok=True)

    def _run(self, job: Job, path: Path) -> bool:
        """Whether the end of the file was reached."""
        collection = self.collections.get(job.collection)
        details = dict(job.details)
        rows = self.reader.items(path, details["filename"], _plan(details["fields"]), details["rows_read"])
        while chunk := list(islice(rows, ROWS_PER_TRANSACTION)):
            if not self._wait_for_room():
                return False
            details["rows_read"] += len(chunk)
            self._accept(collection, job.id, chunk, details)
        accepted = self.ingest.documents.accept(job.id, [], [], details, is_last=True)
        self.ingest.announce(collection.id, accepted)
        return True

    def _accept(
        self,
        collection: Collection,
        job_id: str,
        chunk: list[Mapping[str, object] | RejectedItem],
        details: Mapping[str, Any],
    ) -> None:
        documents: list[NewDocument] = []
        rejected: list[RejectedItem] = []
        for item in chunk:
            if isinstance(item, RejectedItem):
                rejected.append(item)
                continue
            try:
                documents.append(validate_document(item, self.ingest.limits))
            except InvalidInput as error:
                rejected.append(RejectedItem(str(item.get("id", ""))[:512], str(error)))
        accepted = self.ingest.documents.accept(job_id, documents, rejected, details, is_last=False)
        self.ingest.announce(collection.id, accepted)

    def _wait_for_room(self) -> bool:
        """False when the process stops while the queue is full."""
        while self.ingest.queue.depth() > self.max_waiting_batches:
            if self.is_stopping():
                return False
            time.sleep(PAUSE_S)
        return not self.is_stopping()


def _plan(fields: Mapping[str, Any]) -> ImportPlan:
    return ImportPlan(
        fields["id_field"],
        fields["text_field"],
        fields["title_field"],
        tuple(fields["metadata_fields"]),
        tuple(fields["guessed"]),
    )
