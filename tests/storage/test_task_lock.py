"""Tasks without a lease: one process at a time works on each."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cognate.embedded import EmbeddedBackground
from cognate.ingestion import Ingestion
from cognate.settings import Settings
from core.job_types import Task, TaskKind
from core.turns import Turns
from storage.database import Database
from storage.task_lock import SqlTaskLock
from tests.storage.world import opened

TIMEOUT_S = 20.0


@pytest.mark.parametrize("kind", ["postgres"])
def test_of_two_processes_one_holds_a_task(database: Database, database_url: str) -> None:
    with opened(database_url) as other, SqlTaskLock(other).hold("t") as is_theirs:
        assert is_theirs
        with SqlTaskLock(database).hold("t") as is_ours, SqlTaskLock(database).hold("u") as is_free:
            assert (is_ours, is_free) == (False, True)


@pytest.mark.parametrize("kind", ["sqlite"])
def test_on_sqlite_the_one_process_holds_every_task(database: Database) -> None:
    with SqlTaskLock(database).hold("t") as is_ours:
        assert is_ours


@pytest.mark.parametrize("kind", ["postgres"])
def test_an_embedded_server_leaves_alone_what_another_process_works_on(
    database: Database, database_url: str
) -> None:
    begun, has_begun = list[str](), threading.Event()

    def work(task_id: str) -> None:
        begun.append(task_id)
        has_begun.set()

    ingest = SimpleNamespace(turns=Turns(), requeue_unfinished=lambda: 0)
    imports = SimpleNamespace(run=work)
    trace = SimpleNamespace(ids=lambda task: task.named_id)
    others = SimpleNamespace(run=work), SimpleNamespace(training=imports, labelling=imports)
    ingestion = Ingestion(*(cast(Any, part) for part in (ingest, imports, *others, trace)))
    background = EmbeddedBackground(1)
    with opened(database_url) as other, SqlTaskLock(other).hold("theirs"), ExitStack() as stack:
        background.start(Settings(database_url=database_url), database, ingestion, stack)
        background.queue.enqueue([Task(TaskKind.IMPORT_FILE, id_) for id_ in ("theirs", "free")])
        assert has_begun.wait(TIMEOUT_S)  # one thread, in order: the first was passed over by now
    assert begun == ["free"]
