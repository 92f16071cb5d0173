"""kill -9 of a worker in the middle of its batches, again and again, against a run without kills."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from tests.production.conftest import Bare
from tests.production.processes import Deployment, Process
from tests.production.traffic import (
    check_searchable,
    count,
    create,
    is_applied,
    job_of,
    post,
    some_documents,
)
from tests.production.truth import assert_same_vectors, running_batches, stored_vectors
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SEED = 11
KILLS = 10
JOBS, SIZE = 6, 50  # for each kill


@contextmanager
def told_on_failure(moments: list[str]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"seed {SEED}; kills: " + "; ".join(moments))
        raise


def test_ten_kills_lose_and_double_nothing_and_change_no_vector(bare: Bare) -> None:
    deployment, http = bare.deployment, bare.api.http
    worker, scheduler = deployment.worker(), deployment.scheduler()
    create(http, "killed")
    moments: list[str] = []
    with told_on_failure(moments), deployment.running(worker, scheduler):
        jobs, total = kill_again_and_again(deployment, http, worker, moments)
        wait_until(lambda: count(http, "killed")["pending"] == 0, "nothing is pending")
        assert count(http, "killed") == {"total": total, "searchable": total, "pending": 0, "failed": 0}
        overview = http.get("/v1/collections/killed").json()
        assert overview["passages"] == total, "each text is one passage"
        assert all(job_of(http, job)["done"] == SIZE for job in jobs)
        wait_until(lambda: is_applied(http, "killed"), "the index has it all")
        check_searchable(http, some_documents(10, SIZE), "killed")
        clean_run(http, total)
        found = stored_vectors(deployment, "killed")
        assert len(found) == total
        assert_same_vectors(found, stored_vectors(deployment, "clean"))


def kill_again_and_again(
    deployment: Deployment, http: httpx.Client, worker: Process, moments: list[str]
) -> tuple[list[str], int]:
    """Until KILLS have hit a batch; the jobs, and how many documents they have."""
    jobs: list[str] = []
    rng, hits = random.Random(SEED), 0
    while hits < KILLS:
        assert len(moments) < 3 * KILLS, "too few kills hit a batch"
        since = datetime.now(UTC)
        jobs += [post(http, some_documents(len(jobs) + i, SIZE), "killed")["id"] for i in range(JOBS)]
        wait_until(lambda since=since: running_batches(deployment, since) > 0, "the worker has a batch")  # type: ignore[misc]
        delay_s = rng.uniform(0.0, 0.2)
        threading.Event().wait(delay_s)
        worker.kill()
        in_batches = running_batches(deployment, since)
        hits += in_batches > 0
        moments.append(f"{delay_s:.3f} s after a claim, in {in_batches} batches")
        worker.start()
    return jobs, len(jobs) * SIZE


def clean_run(http: httpx.Client, total: int) -> None:
    """The same documents, in calls of the same size, into another collection."""
    create(http, "clean")
    for number in range(total // SIZE):
        post(http, some_documents(number, SIZE), "clean")
    wait_until(lambda: count(http, "clean")["searchable"] == total, "the clean run is through")
