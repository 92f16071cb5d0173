"""Which tasks take a turn of long work."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cognate.ingestion import Ingestion
from core.ingest import AtWork
from core.job_types import Task, TaskKind
from core.turns import Turns


@pytest.mark.parametrize(
    ("kind", "is_long"),
    [(kind, kind in (TaskKind.BACKUP, TaskKind.TRAIN, TaskKind.LABEL)) for kind in TaskKind],
)
def test_nobody_works_alone_beside_a_whole_long_job(kind: TaskKind, is_long: bool) -> None:
    turns, found = Turns(), list[bool]()

    def work(task_id: str, at_work: AtWork = nullcontext) -> None:
        with turns.alone(0.0) as is_ours:
            found.append(not is_ours)

    task = SimpleNamespace(run=work)
    ingest = SimpleNamespace(run_batch=work, turns=turns)
    classifiers = SimpleNamespace(training=task, labelling=task)
    parts = [cast(Any, part) for part in (ingest, task, task, classifiers, None)]
    Ingestion(*parts).run(Task(kind, "x"))
    assert found == [is_long]
