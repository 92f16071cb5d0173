"""States of followed jobs while the database is away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import anyio
import pytest

from api import job_feed
from api.job_feed import JobFeed
from api.threads import Writers
from core.errors import Unavailable
from core.job_types import Job, JobKind, JobState
from core.ports.stores import JobStore

JOB = Job("a", JobKind.DOCUMENTS, "news", JobState.RUNNING, 2, 0, 0, datetime.now(UTC), None, None, 0, {})
ENDED = replace(JOB, state=JobState.SUCCEEDED, done=2)


class AwayAtFirst:
    """A database that is away when it is asked first, and then tells the job's end."""

    def __init__(self) -> None:
        self.asked = 0

    def progress(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        self.asked += 1
        if self.asked <= 2:
            raise Unavailable("the database is away or restarting; retry")
        return {"a": ENDED}

    def get(self, job_id: str) -> Job:
        return ENDED


def test_a_job_is_followed_to_its_end_though_the_database_is_away_from_the_first_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_feed, "POLL_S", 0.01)

    async def follow() -> list[Any]:
        feed = JobFeed(cast(JobStore, AwayAtFirst()), Writers())
        return [found async for found in feed.follow(JOB)]

    found = anyio.run(follow)
    assert (found[0], found[-1]) == (JOB, ENDED)
    assert set(found[1:-1]) <= {None}
