"""Use case ingest: accept documents, then encode them batch by batch; every step may be run twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.collections import check_encoder
from core.documents import DocumentLimits, validate_batch
from core.errors import EncoderMismatch, Overloaded, Unavailable
from core.ports import BatchStore, Chunker, DocumentStore, Encoder, JobStore, Notifier, TaskQueue
from core.types import (
    Accepted,
    ClaimedBatch,
    Collection,
    EncodedDocument,
    FailedDocument,
    Job,
    PassageText,
    Task,
    TaskKind,
    WorkItem,
)

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class IngestService:
    """Ports and limits of ingestion; `lease_s` bounds how long one batch may be worked on."""

    documents: DocumentStore
    batches: BatchStore
    jobs: JobStore
    encoder: Encoder
    chunker: Chunker
    queue: TaskQueue
    notifier: Notifier
    limits: DocumentLimits
    max_queued_tasks: int
    lease_s: float = 300.0

    def submit(self, collection: Collection, items: Sequence[object]) -> Job:
        """Accepts the good items of one call as a job and queues them; bad items are errors of the job.

        Raises InvalidInput when no item is good or an id occurs twice, Overloaded when too much waits.
        """
        documents, rejected = validate_batch(items, self.limits)
        waiting = self.queue.depth()
        if waiting > self.max_queued_tasks:
            raise Overloaded(
                f"{waiting} batches wait to be embedded; the limit is {self.max_queued_tasks}. Retry later.",
                5.0,
            )
        accepted = self.documents.submit(collection.id, documents, rejected)
        self.announce(collection.id, accepted)
        return self.jobs.get(accepted.job_id)

    def delete(self, collection: Collection, external_ids: Sequence[str]) -> tuple[int, int]:
        """How many documents were deleted, and the seq of the change."""
        deleted, seq = self.documents.delete(collection.id, external_ids)
        self.notifier.publish(collection.id, seq)
        return deleted, seq

    def announce(self, collection_id: int, accepted: Accepted) -> None:
        """After commit: queues the new batches, tells followers of changed metadata."""
        self.queue.enqueue([Task(TaskKind.INGEST_BATCH, batch_id) for batch_id in accepted.batch_ids])
        if accepted.seq is not None:
            self.notifier.publish(collection_id, accepted.seq)

    def requeue_unfinished(self) -> int:
        """Queues what nobody works on, for example after a crash; how many tasks that were."""
        tasks = self.batches.unfinished()
        self.queue.enqueue(tasks)
        return len(tasks)

    def run_batch(self, batch_id: str) -> None:
        """Encodes and publishes one batch; does nothing if it is done or held by another worker.

        Whatever goes wrong is raised after the lease was given back, to be tried again; at the fifth attempt
        an error that is not known to pass ends the batch, and all its documents fail with the reason.
        """
        batch = self.batches.claim(batch_id, self.lease_s)
        if batch is None:
            return
        try:
            self._work(batch)
        except (Unavailable, Overloaded, EncoderMismatch):
            self._release(batch)
            raise
        except Exception as error:
            if batch.attempt < MAX_ATTEMPTS or not self._fail_all(batch, error):
                self._release(batch)
                raise

    def _work(self, batch: ClaimedBatch) -> None:
        check_encoder(batch.collection, self.encoder)
        encoded, failed = self._encode_isolating(batch)
        self._complete(batch, encoded, failed)

    def _complete(
        self, batch: ClaimedBatch, encoded: Sequence[EncodedDocument], failed: Sequence[FailedDocument]
    ) -> None:
        seq = self.batches.complete(batch, encoded, failed)
        if seq is None:
            log.warning("lease lost, result dropped", extra={"batch_id": batch.id, "job_id": batch.job_id})
            return
        self.notifier.publish(batch.collection.id, seq)

    def _fail_all(self, batch: ClaimedBatch, error: Exception) -> bool:
        """Ends a batch that fails again and again, so that its documents are not pending for ever."""
        why = describe_error(error)
        log.error("batch given up", extra={"batch_id": batch.id, "attempt": batch.attempt}, exc_info=error)
        reason = f"could not be stored after {batch.attempt} attempts: {why}"
        failed = [FailedDocument(item.document_id, item.external_id, reason) for item in batch.items]
        try:
            self._complete(batch, [], failed)
        except Exception:  # the first error is the one to tell; this batch is tried again
            log.exception("batch could not be given up", extra={"batch_id": batch.id})
            return False
        return True

    def _release(self, batch: ClaimedBatch) -> None:
        """Gives the lease back so that the retry can claim; if that fails too, the lease runs out."""
        try:
            self.batches.release(batch)
        except Exception:  # the error that led here is the one to raise
            log.exception("lease not given back", extra={"batch_id": batch.id})

    def _encode_isolating(self, batch: ClaimedBatch) -> tuple[list[EncodedDocument], list[FailedDocument]]:
        """Encodes all at once; if that fails, one by one, so that a bad document fails alone."""
        try:
            return self._encode(batch, batch.items), []
        except (Unavailable, Overloaded):
            raise
        except Exception:
            log.exception("batch failed; trying its documents one by one", extra={"batch_id": batch.id})
        encoded: list[EncodedDocument] = []
        failed: list[FailedDocument] = []
        for item in batch.items:
            try:
                encoded += self._encode(batch, (item,))
            except (Unavailable, Overloaded):
                raise
            except Exception as error:  # the outer edge of one document: the reason is kept with it
                reason = f"could not be embedded: {describe_error(error)}"
                failed.append(FailedDocument(item.document_id, item.external_id, reason))
        return encoded, failed

    def _encode(self, batch: ClaimedBatch, items: Sequence[WorkItem]) -> list[EncodedDocument]:
        texts = [PassageText(item.title, item.text) for item in items]
        spans = self.chunker.split(texts, batch.collection.settings)
        passages = [
            PassageText(text.title, text.text[span.start : span.end])
            for text, document_spans in zip(texts, spans, strict=True)
            for span in document_spans
        ]
        vectors = self.encoder.encode_passages(passages).astype(np.float16)  # (passages, d)
        ends = np.cumsum([len(document_spans) for document_spans in spans])
        return [
            EncodedDocument(item.document_id, document_spans, vectors[end - len(document_spans) : end])
            for item, document_spans, end in zip(items, spans, ends, strict=True)
        ]


def describe_error(error: Exception) -> str:
    """An unexpected error for a caller: its type and the beginning of its message."""
    return f"{type(error).__name__}: {error}"[:MAX_REASON_CHARACTERS]
