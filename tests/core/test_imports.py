"""Importing a file: every row once, over restarts, duplicate tasks and errors of any kind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest

from cognate.ingestion import ORPHANED_AFTER
from core import imports
from core.documents import DocumentLimits
from core.errors import Conflict, InvalidInput, NotFound, Overloaded, Overtaken, TooLarge, Unavailable
from core.imports import MAX_ATTEMPTS, SMALL_ROWS, ImportService
from core.ingest import IngestService
from core.job_types import Accepted, ImportFields, ImportPlan, Job, JobKind, JobState, TaskKind
from core.ports.work import OpenFile
from core.types import Collection, CollectionSettings, NewDocument, RejectedItem
from storage.uploads import local_uploads
from tests.fakes import FAKE_INFO, FakeEncoder, ListQueue, RecordingNotifier, WholeTextChunker

NOW = datetime(2030, 1, 1, tzinfo=UTC)
COLLECTION = Collection(1, "u", "news", "", FAKE_INFO, CollectionSettings(), 0, 0, NOW)


@dataclass
class JobTable:
    """Jobs, the documents accepted into them, and their unfinished tasks.

    `errors` strike rows and the end of the file, `outages` all else that is noted.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    outages: list[Exception | None] = field(default_factory=list)
    batches_waiting: int = 0

    def create(self, collection_id: int, kind: JobKind, details: Mapping[str, Any]) -> Job:
        job = Job(
            f"job-{len(self.jobs)}", kind, "news", JobState.QUEUED, 0, 0, 0, NOW, None, None, 0, details
        )
        self.jobs[job.id] = job
        return job

    def get(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise NotFound(job_id)
        return self.jobs[job_id]

    def fail(self, job_id: str, reason: str) -> None:
        job = self.jobs[job_id]
        errors = (*job.errors, RejectedItem(None, reason))
        self.jobs[job_id] = replace(job, state=JobState.FAILED, errors=errors, failed=job.failed + 1)

    def accept(
        self,
        job_id: str,
        documents: Sequence[NewDocument],
        rejected: Sequence[RejectedItem],
        details: Mapping[str, Any],
        is_last: bool,
        expected: Mapping[str, Any],
    ) -> Accepted:
        if self.errors and (documents or is_last):
            raise self.errors.pop(0)
        if not (documents or is_last) and self.outages and (outage := self.outages.pop(0)):
            raise outage
        job = self.get(job_id)
        if job.state.is_final:
            raise Conflict("over")
        if job.details != expected:
            raise Overtaken("went on elsewhere")
        self.sizes.append(len(documents) + len(rejected))
        self.ids += [document.external_id for document in documents]
        self.jobs[job_id] = replace(
            job, details=dict(details), is_read=is_last, errors=job.errors + tuple(rejected)
        )
        return Accepted(job_id, (), None)

    def waiting(self) -> int:
        return self.batches_waiting

    def reading(self) -> list[Job]:
        return [job for job in self.jobs.values() if not job.state.is_final and not job.is_read]


@dataclass
class ListReader:
    """Gives `rows`; an exception among them is raised when its turn comes."""

    rows: list[Any]

    def plan(self, open_file: OpenFile, filename: str, fields: ImportFields) -> ImportPlan:
        return ImportPlan("id", "text", None, (), ())

    def items(self, open_file: OpenFile, filename: str, plan: ImportPlan, skip_rows: int) -> Iterator[Any]:
        for row in self.rows[skip_rows:]:
            if isinstance(row, BaseException):
                raise row
            yield row


@dataclass
class World:
    table: JobTable
    service: ImportService
    reader: ListReader
    path: Path
    job_id: str = ""

    @property
    def job(self) -> Job:
        return self.table.jobs[self.job_id]

    def start(self, filename: str = "x.csv") -> None:
        self.job_id = self.service.start(COLLECTION, self.path.name, filename, ImportFields()).id

    def run(self) -> None:
        self.service.run(self.job_id)


class Collections:
    def get(self, name: str) -> Collection:
        return COLLECTION


@pytest.fixture
def world(tmp_path: Path) -> World:
    table = JobTable()
    store = cast(Any, table)
    ingest = IngestService(
        store, store, store, FakeEncoder(), WholeTextChunker(), ListQueue(), RecordingNotifier(),
        DocumentLimits(), 10,
    )  # fmt: skip
    reader = ListReader([{"id": str(i), "text": f"text {i}"} for i in range(5)])
    uploads = tmp_path / "uploads"
    service = ImportService(
        ingest, cast(Any, Collections()), reader, local_uploads(uploads), 64, lambda: False
    )
    path = uploads / "abc"
    path.write_bytes(b"rows")
    return World(table, service, reader, path)


def test_every_row_becomes_a_document_and_the_file_goes(world: World) -> None:
    world.start()
    world.run()
    assert world.table.ids == ["0", "1", "2", "3", "4"]
    assert world.job.is_read
    assert not world.path.exists()


@pytest.mark.parametrize("change", [{"is_read": True}, {"state": JobState.CANCELLED}])
def test_a_task_of_an_import_that_is_read_or_over_does_nothing(world: World, change: dict[str, Any]) -> None:
    world.start()
    world.run()
    world.table.jobs[world.job_id] = before = replace(world.job, **change)
    world.run()
    assert world.job == before
    assert before.failed == 0


def test_a_file_that_is_gone_before_it_was_read_fails_the_job(world: World) -> None:
    world.start()
    world.path.unlink()
    world.run()
    assert "upload it again" in world.job.errors[0].reason
    assert "COGNATE_UPLOAD_URL must name one" in world.job.errors[0].reason


def test_a_cancelled_import_gives_its_thread_back_though_the_queue_stays_full(world: World) -> None:
    world.table.batches_waiting = 65
    world.start()
    importing = threading.Thread(target=world.service.run, args=(world.job_id,))
    importing.start()
    world.table.jobs[world.job_id] = replace(world.job, state=JobState.CANCELLED)
    importing.join(30)
    assert not importing.is_alive()
    assert (world.table.ids, world.path.exists()) == ([], False)


@pytest.mark.parametrize("error", [Overloaded("busy"), Unavailable("stopping")])
def test_a_busy_database_is_no_damaged_file_however_often(world: World, error: Exception) -> None:
    world.start()
    world.table.errors = [error] * 20
    for _ in range(20):
        with pytest.raises(type(error)):
            world.run()
    assert not world.job.state.is_final
    assert world.path.exists()
    world.run()
    assert len(world.table.ids) == 5


@pytest.mark.parametrize("error", [InvalidInput("damaged at byte 7"), TooLarge("too much")])
def test_a_damaged_file_ends_the_job_and_keeps_what_was_read(
    world: World, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 2)
    world.start()
    world.reader.rows[4] = error
    world.run()
    assert world.table.ids == ["0", "1", "2", "3"]
    assert world.job.errors[0].reason == str(error)
    assert not world.path.exists()


def test_an_unexpected_error_fails_the_job_at_the_last_attempt_with_the_reason(world: World) -> None:
    world.start()
    world.reader.rows[0] = RuntimeError("strange")
    for attempt in range(1, MAX_ATTEMPTS):
        with pytest.raises(RuntimeError):
            world.run()
        assert world.job.details["attempts"] == attempt
    world.run()
    assert world.job.state is JobState.FAILED
    assert world.job.errors[-1].reason == "could not be imported after 10 attempts: RuntimeError: strange"
    assert not world.path.exists()


def test_a_batch_under_suspicion_finds_its_turn_while_an_import_waits_for_room_and_never_beside_a_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 1)
    turns, found = world.service.ingest.turns, []

    def is_free() -> bool:
        with turns.alone(0.0) as is_ours:
            return is_ours

    def rows() -> Iterator[Any]:
        for number in range(3):
            found.append(("row", is_free()))
            yield {"id": str(number), "text": "x"}

    def waiting() -> int:
        found.append(("room", is_free()))
        return 0

    monkeypatch.setattr(world.table, "waiting", waiting)
    world.reader.rows = cast(Any, Lazy(rows))
    world.start()
    world.run()
    assert found == [("room", True), *[("row", False), ("room", True)] * 3]
    assert is_free()


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours may catch it."""


def test_an_import_that_ends_its_process_again_and_again_fails_at_last(world: World) -> None:
    world.start()
    world.reader.rows[0] = Killed()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with pytest.raises(Killed):
            world.run()
        assert world.job.details["attempts"] == attempt
    world.run()
    assert world.job.state is JobState.FAILED
    assert world.job.errors[-1].reason == "given up after 10 attempts; the log says what ended them"
    assert not world.path.exists()


def test_the_ends_of_a_process_that_read_further_each_time_are_no_reason_to_give_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 1)
    world.start()
    rows = [{"id": str(i), "text": "x"} for i in range(3 * MAX_ATTEMPTS)]
    for end in range(1, len(rows)):
        world.reader.rows = [*rows[:end], Killed()]
        with pytest.raises(Killed):
            world.run()
    world.reader.rows = list(rows)
    world.run()
    assert world.table.ids == [row["id"] for row in rows]
    assert world.job.is_read


def test_a_stop_is_no_attempt_and_neither_is_waiting_for_room(world: World) -> None:
    world.start()
    service, world.table.batches_waiting = world.service, 65
    for _ in range(2 * MAX_ATTEMPTS):
        replace(service, is_stopping=lambda: True).run(world.job_id)
    assert "attempts" not in world.job.details
    world.table.batches_waiting = 0
    world.run()
    assert world.job.is_read


def test_an_attempt_that_an_outage_ended_and_kept_on_the_job_is_taken_back_later(world: World) -> None:
    world.start()
    away = Unavailable("away")
    for _ in range(2 * MAX_ATTEMPTS):
        world.table.errors, world.table.outages = [away], [None, away]
        with pytest.raises(Unavailable):
            world.run()
        assert world.job.details["attempts"] == 1
    world.run()
    assert len(world.table.ids) == 5


def test_attempts_are_counted_anew_after_progress(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 1)
    world.start()
    for row in range(5):
        world.table.errors = [RuntimeError(f"at {row}")] * (MAX_ATTEMPTS - 1)
        for _ in range(MAX_ATTEMPTS - 1):
            with pytest.raises(RuntimeError):
                world.run()
        good, world.reader.rows[row + 1 :] = world.reader.rows[row + 1 :], [Unavailable("pause")]
        with pytest.raises(Unavailable):
            world.run()
        world.reader.rows[row + 1 :] = good
    world.run()
    assert world.table.ids == ["0", "1", "2", "3", "4"]
    assert world.job.is_read


def test_a_transaction_is_bounded_by_rows_and_by_characters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHARACTERS_PER_TRANSACTION", 20)
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 3)
    world.reader.rows = [
        {"id": str(i), "text": "x" * size} for i, size in enumerate([1, 1, 1, 1, 40, 12, 12])
    ]
    world.reader.rows.append({"id": "m", "text": "x", "metadata": {"key": ["y" * 30]}})
    world.reader.rows.append({"id": "n", "text": "x"})
    world.start()
    world.run()
    attempt, *transactions = world.table.sizes
    assert (attempt, transactions) == (0, [3, 2, 2, 1, 1, 0])


def test_reasons_of_bad_rows_are_short(world: World) -> None:
    world.reader.rows = [{"id": "1", "text": "x", "metadata": {"k" * 9000: object()}}]
    world.start()
    world.run()
    assert len(world.job.errors[0].reason) <= 1000


def test_a_filename_that_cannot_be_stored_is_cleaned(world: World) -> None:
    world.start("\ud800a\0" + "b" * 300 + ".csv")
    assert world.job.details["filename"].endswith("b.csv")
    assert len(world.job.details["filename"]) == 255
    world.start("\ud800\0.csv")
    assert world.job.details["filename"] == "??.csv"


def test_the_data_folder_may_move_between_start_and_run(world: World, tmp_path: Path) -> None:
    world.start()
    moved = world.path.parent.rename(tmp_path / "moved")
    replace(world.service, uploads=local_uploads(moved)).run(world.job_id)
    assert len(world.table.ids) == 5


def test_of_two_processes_that_read_one_file_only_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_PER_TRANSACTION", 2)
    world.start()
    rows = world.reader.rows

    def rows_while_another_runs() -> Iterator[Any]:
        yield from rows[:3]
        replace(world.service, reader=ListReader(rows)).run(world.job_id)
        yield from rows[3:]

    world.reader.rows = cast(Any, Lazy(rows_while_another_runs))
    world.run()
    assert world.table.ids == ["0", "1", "2", "3", "4"]
    assert world.job.is_read
    assert world.job.details["rows_read"] == 5


@dataclass
class Lazy:
    """A list whose items are made when they are asked for."""

    make: Callable[[], Iterator[Any]]

    def __getitem__(self, place: slice) -> Iterator[Any]:
        return islice(self.make(), place.start, None)


def test_a_loser_leaves_the_file_to_the_winner(world: World) -> None:
    world.start()
    world.table.errors = [Overtaken("went on elsewhere")]
    world.run()
    assert world.path.exists()
    assert not world.job.state.is_final
    world.run()
    assert world.table.ids == ["0", "1", "2", "3", "4"]


def test_what_a_large_file_brings_does_not_stand_before_a_small_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = world.table.accept

    def accept_as_batch(*given: Any, **named: Any) -> Accepted:
        accepted = accept(*given, **named)
        return replace(accepted, batch_ids=(f"{len(world.table.ids)} rows",) if given[1] else ())

    monkeypatch.setattr(world.table, "accept", accept_as_batch)
    world.reader.rows = [{"id": str(i), "text": f"text {i}"} for i in range(SMALL_ROWS + 600)]
    world.start()
    world.run()
    queue = cast(ListQueue, world.service.ingest.queue)
    batches = {task.id: task.is_bulk for task in queue.tasks if task.kind is TaskKind.INGEST_BATCH}
    assert batches == {"512 rows": False, "1024 rows": False, "1536 rows": True, "1624 rows": True}


def test_only_old_uploads_that_no_import_reads_are_orphans(world: World) -> None:
    world.start()
    folder = world.path.parent
    old = (datetime.now(UTC) - timedelta(hours=2)).timestamp()
    for name in ("orphan", "read", "cut-short.part", "young", "abc"):
        (folder / name).write_bytes(b"rows")
        if name != "young":
            os.utime(folder / name, (old, old))
    world.table.create(1, JobKind.IMPORT, {"file": "read"})
    world.table.jobs["job-1"] = replace(world.table.jobs["job-1"], is_read=True)
    assert world.service.remove_orphans(ORPHANED_AFTER) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["abc", "young"]
    assert world.service.remove_orphans(timedelta()) == 1
    assert [path.name for path in folder.iterdir()] == ["abc"]
