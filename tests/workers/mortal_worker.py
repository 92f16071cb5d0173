"""A worker process that dies of one document: run it again and again until no work is left.

`python -m tests.workers.mortal_worker DATABASE_URL`: the database has the schema and the accepted documents.
It is the embedded server's own queue, store and service around an encoder that ends the process, without a
word, when it reads the word `deadly`. Exits with 0 once every job is over.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from core.documents import DocumentLimits
from core.ingest import IngestService
from core.types import Float32, Lane, PassageText
from storage.batches import SqlBatchStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from tests.fakes import FakeEncoder, RecordingNotifier, WholeTextChunker
from workers.embedded import EmbeddedQueue

DEADLY = "deadly"
DIED = 66


@dataclass
class MortalEncoder(FakeEncoder):
    """Ends the process as a fault in native code would: no exception, no handler, no clean-up."""

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        if any(DEADLY in passage.text for passage in passages):
            os._exit(DIED)
        return super().encode_passages(passages, lane)


def main(url: str) -> None:
    database, queue = Database(url), EmbeddedQueue(workers=2)
    batches, jobs = SqlBatchStore(database), SqlJobStore(database)
    ingest = IngestService(
        SqlDocumentStore(database), batches, jobs, MortalEncoder(), WholeTextChunker(), queue,
        RecordingNotifier(), DocumentLimits(), 10_000,
    )  # fmt: skip
    batches.release_all()
    ingest.requeue_unfinished()
    queue.start(lambda task: ingest.run_batch(task.id))
    while not all(job.state.is_final for job in jobs.list(10)):
        time.sleep(0.01)
    queue.stop()


if __name__ == "__main__":
    main(sys.argv[1])
