"""What a server that is everything in one process does now and then."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cognate import embedded


def test_a_sweep_queues_what_is_unfinished_and_then_learns_what_was_left_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = list[str]()
    monkeypatch.setattr(embedded, "return_freed_memory", lambda: done.append("memory"))
    ingestion = SimpleNamespace(
        ingest=SimpleNamespace(requeue_unfinished=lambda: done.append("queue")),
        imports=SimpleNamespace(remove_orphans=lambda age: done.append("orphans")),
        classifiers=SimpleNamespace(
            training=SimpleNamespace(catch_up_all=lambda: done.append("learn")),
        ),
    )
    retention = SimpleNamespace(purge=lambda before: pytest.fail("purged before an hour was over"))
    sweep = embedded._Sweep(cast(Any, ingestion), cast(Any, retention), timedelta(days=1), pytest.fail)
    sweep._purged_at += embedded.PURGE_EVERY_S
    sweep()
    assert done == ["queue", "learn", "memory"]
