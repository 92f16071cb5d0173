"""How long a backup and its restore take: `python -m benchmarks.backup CORPUS.jsonl.gz [DOCUMENTS]`.

Real texts; the vectors are random unit rows, so that no encoder is measured. One passage a document.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cognate.client import in_batches
from cognate.load import read_corpus
from core.backup_types import Move
from core.job_types import EncodedDocument, JobKind
from core.types import CollectionSettings, EncoderInfo, NewDocument, Span
from indexer.follower import IndexFollower
from migrations.upgrade import upgrade
from storage.backups import SqlBackups
from storage.batches import SqlBatchStore
from storage.change_log import SqlChangeLog
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.long_jobs import SqlLongJobs
from storage.uploads import BACKUPS, local_uploads
from workers.notifier import LocalNotifier

DIM = 384


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<40} {time.monotonic() - started:7.2f} s   peak memory so far {peak:,.0f} MiB")


def fill(database: Database, corpus: Path, count: int) -> None:
    encoder = EncoderInfo("random", "f" * 64, DIM, 256)
    documents, batches = SqlDocumentStore(database), SqlBatchStore(database)
    collection, _ = SqlCollectionStore(database).create("c", "", encoder, CollectionSettings())
    rng = np.random.default_rng(0)
    items = (
        NewDocument(str(d["id"]), str(d["text"]), str(d.get("title", "")), {"number": n})
        for n, d in enumerate(read_corpus(corpus, count))
    )
    for chunk in in_batches(items, 1000):
        for batch_id in documents.submit(collection.id, chunk, []).batch_ids:
            batch = batches.claim(batch_id, 60)
            assert batch is not None
            rows = rng.standard_normal((len(batch.items), DIM))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            vectors = rows.astype(np.float16)
            spans = [(Span(0, len(item.text)),) for item in batch.items]
            encoded = [
                EncodedDocument(item.document_id, span, vectors[i : i + 1])
                for i, (item, span) in enumerate(zip(batch.items, spans, strict=True))
            ]
            batches.complete(batch, encoded, [])


def main() -> None:
    corpus, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'cognate.db'}"
        upgrade(url)
        database = Database(url)
        with timed(f"{count:,} documents written"):
            fill(database, corpus, count)
        store, jobs = (
            SqlBackups(database, local_uploads(folder / "b", BACKUPS), "bench"),
            SqlLongJobs(database),
        )
        with timed("create"):
            made = store.create("j", "b", None, lambda done: None)
        on_disk = (folder / "cognate.db").stat().st_size
        print(f"{'size':<40} {made.bytes / 1e6:7.2f} MB of a database of {on_disk / 1e6:.1f} MB")
        with timed("verify"):
            store.verify("b", lambda done: None)
        job = jobs.open(JobKind.RESTORE, "", {})
        with timed("restore"):
            list(store.restore(job.id, "b", [Move("c", "copy")], lambda done: None))
        SqlCollectionStore(database).delete("c")
        with timed("index built from the log"):
            follower = IndexFollower(
                SqlChangeLog(database), SqlCollectionStore(database), LocalNotifier(), folder / "snapshots"
            )
            follower.start()
        follower.stop()
        database.close()


if __name__ == "__main__":
    main()
