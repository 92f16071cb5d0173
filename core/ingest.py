"""Use case ingest: accept documents, then encode them batch by batch; every step may be run twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from core.bulk_encoding import slices
from core.collections import check_encoder, in_use
from core.documents import DocumentLimits, validate_batch
from core.errors import EncoderMismatch, Overloaded, Overtaken, Unavailable
from core.job_types import (
    REQUEST_ID,
    Accepted,
    Annotated,
    BatchStanding,
    ClaimedBatch,
    EncodedDocument,
    FailedDocument,
    Job,
    Task,
    TaskKind,
    WorkItem,
)
from core.leases import LeaseKeeper, LeaseLost
from core.metering import IngestMeter, IngestStage, NoMeter, timed
from core.ports.indexes import Chunker
from core.ports.models import PassageEncoder
from core.ports.stores import BatchStore, DocumentStore, JobStore
from core.ports.work import Notifier, TaskQueue
from core.token_types import TokenizedPassage
from core.turns import Turns
from core.types import Collection, CollectionSettings, Float16, PassageText, Span

log = logging.getLogger(__name__)

MAX_REASON_CHARACTERS = 500
NOT_THEIR_FAULT = (Unavailable, Overloaded, EncoderMismatch)
HARMLESS = PassageText("", "A plain text.")


# Entered for as long as a batch is worked on, its wait for a turn left out.
AtWork = Callable[[], AbstractContextManager[None]]

# Adds to documents whose vectors are known what is to be published with them, labels say.
Annotate = Callable[[Collection, Sequence[EncodedDocument]], Annotated]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A document's passages: where each lies in its text, and what is encoded for it."""

    spans: tuple[Span, ...]
    passages: Sequence[TokenizedPassage]


@dataclass(frozen=True, slots=True)
class IngestService:
    """Ports and limits of ingestion.

    `lease_s` is how long after a worker's death its batch is taken up again. `is_stopping` ends the work
    between two slices of a batch. `owed` are leases that could not be given back while the database was away,
    each with the fault that goes with it.
    """

    documents: DocumentStore
    batches: BatchStore
    jobs: JobStore
    encoder: PassageEncoder
    chunker: Chunker
    queue: TaskQueue
    notifier: Notifier
    limits: DocumentLimits
    max_queued_tasks: int
    lease_s: float = 60.0
    is_stopping: Callable[[], bool] = lambda: False
    turns: Turns = field(default_factory=Turns)
    owed: dict[str, tuple[ClaimedBatch, str | None]] = field(default_factory=dict)
    meter: IngestMeter = field(default_factory=NoMeter)
    annotate: Annotate = lambda _, encoded: Annotated(encoded)

    def submit(self, collection: Collection, items: Sequence[object], request_id: str = "") -> Job:
        """Accepts the good items of one call as a job and queues them; bad items are errors of the job.

        The job keeps `request_id`, so that the logs of its batches name it.
        Raises InvalidInput when no item is good or an id occurs twice, Overloaded when too much waits,
        NotFound when the collection is gone.
        """
        with timed(self.meter, IngestStage.ACCEPT):
            documents, rejected = validate_batch(items, self.limits)
            waiting = self.queue.depth()
            if waiting > self.max_queued_tasks:
                raise Overloaded(
                    f"{waiting} batches wait to be embedded; the limit is {self.max_queued_tasks}. Retry"
                    " later.",
                    5.0,
                )
            with in_use(collection):
                accepted = self.documents.submit(
                    collection.id, documents, rejected, request_details(request_id)
                )
        log.info(
            "job accepted",
            extra={
                "job_id": accepted.job_id,
                "documents": len(documents),
                "rejected": len(rejected),
                "batches": len(accepted.batch_ids),
            },
        )
        self.announce(collection.id, accepted)
        return self.jobs.get(accepted.job_id)

    def delete(self, collection: Collection, external_ids: Sequence[str]) -> tuple[int, int]:
        """How many documents were deleted, and the seq of the change."""
        with in_use(collection):
            deleted, seq = self.documents.delete(collection.id, external_ids)
        self.notifier.publish(collection.id, seq)
        return deleted, seq

    def announce(self, collection_id: int, accepted: Accepted, is_bulk: bool = False) -> None:
        """After commit: queues the new batches, those of imports as `is_bulk`; tells of changed metadata."""
        self.queue.enqueue(
            [Task(TaskKind.INGEST_BATCH, batch_id, is_bulk) for batch_id in accepted.batch_ids]
        )
        if accepted.seq is not None:
            self.notifier.publish(collection_id, accepted.seq)

    def requeue_unfinished(self) -> int:
        """Queues what nobody works on, for example after a crash; how many tasks that were."""
        self._give_back_owed()
        tasks = self.batches.unfinished()
        self.queue.enqueue(tasks)
        return len(tasks)

    def run_batch(self, batch_id: str, at_work: AtWork = nullcontext) -> None:
        """Encodes and publishes one batch; does nothing if it is done or held by another worker.

        Whatever goes wrong is raised after the lease was given back, to be tried again. Errors that are not
        the documents' fault do not count as a try; a batch whose tries are used up is bisected. A suspect
        beside which long work goes on is put back: Unavailable.
        """
        self._give_back_owed()
        standing = self.batches.standing(batch_id)
        if standing is BatchStanding.SPENT:
            self._bisect(batch_id)
        elif standing is BatchStanding.SUSPECT:
            with self.turns.alone() as is_ours:  # if the process dies now, no other work bears the blame
                if not is_ours:
                    raise Unavailable(
                        "A batch under suspicion waits until no import, backup, training or labelling runs in"
                        " this process."
                    )
                with at_work():
                    self._run(batch_id)
        elif standing is BatchStanding.FRESH:
            with self.turns.together(), at_work():
                self._run(batch_id)

    def _bisect(self, batch_id: str) -> None:
        parts = self.batches.bisect(batch_id)
        log.warning("batch failed too often", extra={"batch_id": batch_id, "parts": len(parts)})
        self.meter.bisected()
        self.queue.enqueue([Task(TaskKind.INGEST_BATCH, part) for part in parts])

    def _run(self, batch_id: str) -> None:
        batch = self.batches.claim(batch_id, self.lease_s)
        if batch is None:
            return
        if batch.is_taken_over:
            log.warning("lease ran out, batch taken over", extra=_ids(batch))
            self.meter.took_over()
        try:
            with LeaseKeeper(self.batches, batch, self.lease_s) as lease:
                self._work(batch, lease)
        except LeaseLost:
            self._note_loss(batch)
        except NOT_THEIR_FAULT:
            self._release(batch)
            raise
        except Exception as error:
            self._release(batch, describe_error(error))
            raise

    def _work(self, batch: ClaimedBatch, lease: LeaseKeeper) -> None:
        check_encoder(batch.collection, self.encoder)
        encoded, failed = self._encode_isolating(batch, lease)
        seq = self._publish(batch, encoded, failed, lease)
        if seq is None:
            self._note_loss(batch)
            return
        self.meter.settled(len(encoded), len(failed))
        counts = {"searchable": len(encoded), "failed": len(failed), "seq": seq}
        log.info("batch done", extra=_ids(batch) | counts)
        self.notifier.publish(batch.collection.id, seq)

    def _publish(
        self,
        batch: ClaimedBatch,
        encoded: Sequence[EncodedDocument],
        failed: Sequence[FailedDocument],
        lease: LeaseKeeper,
    ) -> int | None:
        """The batch's seq, None if the lease is lost; annotates anew when the rules change meanwhile."""
        while True:
            annotated = self.annotate(batch.collection, encoded)
            try:
                with timed(self.meter, IngestStage.WRITE):
                    return self.batches.complete(batch, annotated.documents, failed, annotated.rules)
            except Overtaken as error:
                log.info("batch annotated anew", extra=_ids(batch) | {"reason": str(error)})
            self._require_going_on(lease)

    def _note_loss(self, batch: ClaimedBatch) -> None:
        log.warning("lease lost, result dropped", extra=_ids(batch))
        self.meter.dropped()

    def _release(self, batch: ClaimedBatch, fault: str | None = None) -> None:
        """Gives the lease back so that the retry can claim; if that fails too, later."""
        try:
            self.batches.release(batch, fault)
        except Exception:  # the error that led here is the one to raise
            log.exception("lease not given back", extra={"batch_id": batch.id})
            self.owed[batch.id] = (batch, fault)

    def _give_back_owed(self) -> None:
        for batch_id, (batch, fault) in list(self.owed.items()):
            self.batches.release(batch, fault)
            self.owed.pop(batch_id, None)

    def _encode_isolating(
        self, batch: ClaimedBatch, lease: LeaseKeeper
    ) -> tuple[list[EncodedDocument], list[FailedDocument]]:
        """Encodes all at once; if that fails, one by one, so that a bad document fails alone.

        Raises Unavailable when the encoder fails whatever it is given.
        """
        try:
            return self._encode(batch, batch.items, lease), []
        except (LeaseLost, *NOT_THEIR_FAULT):
            raise
        except Exception:
            log.exception("batch failed; trying its documents one by one", extra={"batch_id": batch.id})
        self._require_encoder(batch)
        encoded: list[EncodedDocument] = []
        failed: list[FailedDocument] = []
        for item in batch.items:
            try:
                encoded += self._encode(batch, (item,), lease)
            except (LeaseLost, *NOT_THEIR_FAULT):
                raise
            except Exception as error:  # the outer edge of one document: the reason is kept with it
                reason = f"could not be embedded: {describe_error(error)}"
                failed.append(FailedDocument(item.document_id, item.external_id, reason))
        return encoded, failed

    def _require_encoder(self, batch: ClaimedBatch) -> None:
        """Raises Unavailable when the encoder fails on a harmless text too: then no document is at fault."""
        try:
            self.chunker.split([HARMLESS], batch.collection.settings)
            self.encoder.encode_tokenized(self.encoder.tokenize_passages([HARMLESS]))
        except NOT_THEIR_FAULT:
            raise
        except Exception as error:
            told = f"The encoder fails even on {HARMLESS.text!r}: {describe_error(error)}. See its log."
            raise Unavailable(told) from error

    def _encode(
        self, batch: ClaimedBatch, items: Sequence[WorkItem], lease: LeaseKeeper
    ) -> list[EncodedDocument]:
        documents = self._cut(
            [PassageText(item.title, item.text) for item in items], batch.collection.settings
        )
        passages = [passage for document in documents for passage in document.passages]
        with timed(self.meter, IngestStage.ENCODE):
            vectors = self._encode_passages(passages, lease)  # (passages, d)
        ends = np.cumsum([len(document.spans) for document in documents])
        return [
            EncodedDocument(item.document_id, document.spans, vectors[end - len(document.spans) : end])
            for item, document, end in zip(items, documents, ends, strict=True)
        ]

    def _cut(self, texts: Sequence[PassageText], settings: CollectionSettings) -> list[_Cut]:
        """Each text as its passages. Most fit in one: their tokens are those that are encoded."""
        with timed(self.meter, IngestStage.TOKENIZE):
            whole = self.encoder.tokenize_passages(texts)
        cut = [_Cut((Span(0, len(one.passage.text)),), (one,)) for one in whole]
        long = [i for i, one in enumerate(whole) if len(one.token_ids) > settings.max_tokens]
        if not long:
            return cut
        with timed(self.meter, IngestStage.CHUNK):
            spans = self.chunker.split([texts[i] for i in long], settings)
        with timed(self.meter, IngestStage.TOKENIZE):
            for i, found in zip(long, spans, strict=True):
                title, text = texts[i].title, texts[i].text
                parts = [PassageText(title, text[span.start : span.end]) for span in found]
                cut[i] = _Cut(found, self.encoder.tokenize_passages(parts))
        return cut

    def _encode_passages(self, passages: Sequence[TokenizedPassage], lease: LeaseKeeper) -> Float16:
        parts = []
        for part in slices([one.passage for one in passages]):
            self._require_going_on(lease)
            parts.append(self.encoder.encode_tokenized(passages[part]).astype(np.float16))
        return np.concatenate(parts)

    def _require_going_on(self, lease: LeaseKeeper) -> None:
        if self.is_stopping():
            raise Unavailable("This process stops; the batch goes to another, or waits for the next start.")
        lease.check()


def _ids(batch: ClaimedBatch) -> dict[str, object]:
    return {"batch_id": batch.id, "job_id": batch.job_id}


def request_details(request_id: str) -> dict[str, str]:
    """What the details of a job say of the request that made it."""
    return {REQUEST_ID: request_id} if request_id else {}


def describe_error(error: Exception) -> str:
    """An unexpected error for a caller: its type and the beginning of its message."""
    return f"{type(error).__name__}: {error}"[:MAX_REASON_CHARACTERS]
