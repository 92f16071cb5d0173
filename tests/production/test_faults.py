"""Workers ended, Redis away or emptied, tasks delivered twice: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import time

import httpx
import pytest

from tests.production.conftest import Bare
from tests.production.processes import Deployment
from tests.production.traffic import (
    all_documents,
    count,
    create,
    job_of,
    post,
    search,
    some_documents,
)
from tests.production.truth import running_batches
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

BATCH = 50


def test_a_worker_told_to_end_finishes_or_gives_back_its_batches(bare: Bare) -> None:
    http, worker, scheduler = bare.api.http, bare.deployment.worker(), bare.deployment.scheduler()
    create(http, "ended")
    for number in range(24):
        post(http, some_documents(number, BATCH), "ended")
    with bare.deployment.running(worker):
        wait_until(lambda: running_batches(bare.deployment) > 0, "the worker has a batch")
        assert worker.stop() == 0
        assert running_batches(bare.deployment) == 0
        assert count(http, "ended")["pending"] > 0, "the worker must have ended before it was through"
    # Most is still in Redis; the message of a batch that was given back is used up, so the sweep brings it.
    with bare.deployment.running(worker, scheduler):
        wait_until(lambda: count(http, "ended")["searchable"] == 24 * BATCH, "all are searchable")


def test_tasks_delivered_twice_and_in_any_order_do_the_same(bare: Bare) -> None:
    http, worker = bare.api.http, bare.deployment.worker()
    create(http, "twice")
    versions = [
        [document | {"text": f"{document['text']} Version {n}."} for document in some_documents(0, BATCH)]
        for n in range(3)
    ]
    jobs = [post(http, documents, "twice")["id"] for documents in versions]
    jobs += [post(http, some_documents(number, BATCH), "twice")["id"] for number in range(1, 8)]
    with bare.deployment.redis.client() as redis:
        messages = redis.lrange("ingest", 0, -1) * 3
        random.Random(5).shuffle(messages)
        redis.delete("ingest")
        redis.rpush("ingest", *messages)
        with bare.deployment.running(worker):
            wait_until(
                lambda: redis.llen("ingest") == 0 and count(http, "twice")["pending"] == 0,
                "all are worked off",
            )
            assert worker.stop() == 0
    assert count(http, "twice") == {"total": 8 * BATCH, "searchable": 8 * BATCH, "pending": 0, "failed": 0}
    found = all_documents(http, "twice")
    assert all(found[document["id"]] == document["text"] for document in versions[-1]), "the last one wins"
    for job in jobs:
        after = job_of(http, job)
        assert (after["total"], after["done"] + after["failed"]) == (BATCH, BATCH)


def test_redis_may_hang_stop_and_come_back_empty(deployment: Deployment) -> None:
    api, worker, redis = deployment.api(), deployment.worker(), deployment.redis
    scheduler = deployment.scheduler()
    deployment.start(api, worker, scheduler)
    create(api.http)
    post(api.http, some_documents(0, BATCH))
    wait_until(lambda: count(api.http)["searchable"] == BATCH, "the first are searchable")
    redis.pause()
    check_api_goes_on(api.http, 1)
    redis.resume()
    redis.stop()
    check_api_goes_on(api.http, 2)
    check_api_goes_on(api.http, 3)
    wait_until(
        lambda: "periodic task not sent" in scheduler.output(), "the scheduler says that Redis is away"
    )
    assert api.http.get("/health/ready").status_code == 200
    redis.start()  # empty: it saves nothing
    wait_until(lambda: count(api.http)["searchable"] == 4 * BATCH, "the sweep found the rest")
    with redis.client() as client:
        client.flushall()
    post(api.http, some_documents(4, BATCH))
    wait_until(lambda: count(api.http)["searchable"] == 5 * BATCH, "an emptied Redis takes tasks at once")
    assert worker.is_running
    assert "Traceback" not in scheduler.output(), "an outage is a line a task"


def test_a_scheduler_waits_for_a_redis_that_is_away_at_its_start(deployment: Deployment) -> None:
    redis, scheduler = deployment.redis, deployment.scheduler()
    redis.stop()
    with deployment.running(scheduler):
        wait_until(lambda: "periodic task not sent" in scheduler.output(), "it says that Redis is away")
        redis.start()
        with redis.client() as client:
            wait_until(lambda: client.llen("maintenance") > 0, "it sends once Redis is there")
        assert scheduler.stop() == 0
    assert "Traceback" not in scheduler.output()


def check_api_goes_on(http: httpx.Client, number: int) -> None:
    """Documents are accepted and searches answered, in bounded time."""
    started_s = time.monotonic()
    post(http, some_documents(number, BATCH))
    assert search(http, some_documents(0, 1)[0]["text"])[0] == "0-0"
    assert time.monotonic() - started_s < 10
