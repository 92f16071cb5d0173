"""An import on a real database: its position moves with its rows, and what waits is counted for all."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import imports
from core.documents import DocumentLimits
from core.errors import Overtaken
from core.imports import ImportService
from core.ingest import IngestService
from core.job_types import ImportFields, Job, JobKind
from core.types import Collection, CollectionSettings
from indexer.imports import FileImportReader
from storage.batches import SqlBatchStore
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from storage.uploads import FsspecUploadStore, local_uploads
from tests.fakes import FAKE_INFO, FakeEncoder, ListQueue, RecordingNotifier, WholeTextChunker
from tests.storage.world import new

ROWS = [{"id": str(i), "text": f"text {i}"} for i in range(23)]
WAIT_S = 30.0


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=5)
    return file.getvalue()


def csv() -> bytes:
    return "".join(["id,text\n", *(f"{row['id']},{row['text']}\n" for row in ROWS)]).encode()


def json_lines() -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in ROWS)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


FILES: Mapping[str, Callable[[], bytes]] = {
    "x.csv": csv,
    "x.tsv": lambda: csv().replace(b",", b"\t"),
    "x.jsonl": json_lines,
    "x.json": lambda: json.dumps(ROWS).encode(),
    "x.parquet": parquet,
}
PACKED: Mapping[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


class Killed(BaseException):
    """Stands for the end of a process: nothing of ours may catch it."""


class World:
    """What one process has, on a database and a store of uploads that others use too."""

    def __init__(self, database: Database, uploads: FsspecUploadStore) -> None:
        self.collections = SqlCollectionStore(database)
        self.documents, self.jobs = SqlDocumentStore(database), SqlJobStore(database)
        self.batches, self.uploads, self.queue = SqlBatchStore(database), uploads, ListQueue()
        ingest = IngestService(
            self.documents, self.batches, self.jobs, FakeEncoder(), WholeTextChunker(), self.queue,
            RecordingNotifier(), DocumentLimits(), 10,
        )  # fmt: skip
        self.service = ImportService(
            ingest, self.collections, FileImportReader(), uploads, 1_000_000, lambda: False
        )

    def start(self, filename: str, content: bytes) -> Job:
        writer = self.uploads.create("abc")
        writer.write(content)
        writer.commit()
        return self.service.start(self.collection(), "abc", filename, ImportFields())

    def collection(self) -> Collection:
        return self.collections.create("news", "", FAKE_INFO, CollectionSettings())[0]


@pytest.fixture
def process(database: Database, tmp_path: Path) -> World:
    return World(database, local_uploads(tmp_path / "uploads"))


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("filename", FILES)
def test_ended_at_every_transaction_an_import_reads_each_row_once(
    process: World, monkeypatch: pytest.MonkeyPatch, filename: str, packing: str
) -> None:
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 4)
    job = process.start(filename + packing, PACKED[packing](FILES[filename]()))
    accept, is_after = process.documents.accept, False

    def accept_and_die(*arguments: Any, **options: Any) -> Any:
        nonlocal is_after
        if not (arguments[1] or arguments[2] or options["is_last"]):  # the attempt is counted
            return accept(*arguments, **options)
        is_after = not is_after
        if is_after:
            accept(*arguments, **options)
        raise Killed

    monkeypatch.setattr(process.documents, "accept", accept_and_die)
    ends = 0
    while not process.jobs.get(job.id).is_read:
        with pytest.raises(Killed):
            process.service.run(job.id)
        ends += 1
    assert ends == 13, "six transactions of rows and one for the end, each but the first died of twice"
    monkeypatch.undo()
    process.service.run(job.id)
    done = process.jobs.get(job.id)
    assert (done.total, done.failed) == (len(ROWS), 0)
    assert done.details["rows_read"] == len(ROWS)
    found = process.documents.list(process.collection().id, None, 100, None)
    assert {d.external_id: d.text for d in found} == {row["id"]: row["text"] for row in ROWS}
    assert process.uploads.list() == []


def test_a_transaction_from_an_old_position_is_refused_whole(process: World) -> None:
    collection = process.collection()
    job = process.jobs.create(collection.id, JobKind.IMPORT, {"rows_read": 0})
    process.documents.accept(job.id, [new("a")], (), {"rows_read": 1}, False, {"rows_read": 0})
    with pytest.raises(Overtaken):
        process.documents.accept(job.id, [new("b")], (), {"rows_read": 1}, False, {"rows_read": 0})
    assert process.jobs.get(job.id).total == 1
    assert [d.external_id for d in process.documents.list(collection.id, None, 10, None)] == ["a"]


def test_an_import_waits_for_batches_that_only_the_database_knows_of(
    database: Database, process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queue and workers may be other processes: this one's queue is empty all the time."""
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 4)
    monkeypatch.setattr(imports, "PAUSE_S", 0.01)
    service = replace(process.service, max_waiting_batches=1)
    job = process.start("x.jsonl", json_lines())
    looked = threading.Semaphore(0)
    most, waiting = 0, process.batches.waiting

    def count() -> int:
        nonlocal most
        found = waiting()
        most = max(most, found)
        looked.release()
        return found

    monkeypatch.setattr(process.batches, "waiting", count)
    thread = threading.Thread(target=service.run, args=(job.id,))
    thread.start()
    for _ in range(10):
        assert looked.acquire(timeout=WAIT_S)
    assert process.jobs.get(job.id).total == 8, "two transactions, then one batch too many waits"
    worker = World(database, process.uploads)
    while thread.is_alive():
        for task in worker.batches.unfinished():
            worker.service.ingest.run_batch(task.id)
        thread.join(0.01)
    assert process.jobs.get(job.id).total == len(ROWS)
    assert most == 2


def test_an_import_that_waits_for_room_ends_when_the_process_stops(
    process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 4)
    stops = iter([False, True, True])
    service = replace(process.service, max_waiting_batches=0, is_stopping=lambda: next(stops))
    job = process.start("x.jsonl", json_lines())
    service.run(job.id)
    assert process.jobs.get(job.id).total == 4
    process.service.run(job.id)
    assert process.jobs.get(job.id).total == len(ROWS)


def test_imports_that_still_read_are_listed(process: World) -> None:
    collection = process.collection()
    ids = [process.jobs.create(collection.id, JobKind.IMPORT, {"file": str(i)}).id for i in range(4)]
    process.documents.accept(ids[0], [], (), None, True)
    process.jobs.cancel(ids[1])
    process.documents.accept(ids[2], [new("a")], (), None, False)
    process.jobs.create(collection.id, JobKind.DOCUMENTS, {})
    assert {job.id for job in process.jobs.reading()} == {ids[2], ids[3]}
