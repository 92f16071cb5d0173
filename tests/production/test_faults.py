"""Workers killed, Redis away or emptied, tasks delivered twice: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import threading
import time

import httpx
import psycopg
import pytest

from tests.production.processes import Deployment, wait_until
from tests.production.traffic import (
    all_documents,
    check_searchable,
    count,
    create,
    job_of,
    post,
    search,
    some_documents,
)

pytestmark = pytest.mark.integration

KILLS = 4
BATCH = 50


def running_batches(deployment: Deployment) -> int:
    with psycopg.connect(deployment.database_url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM batches WHERE state = 'running'").fetchone()
    assert row is not None
    return int(row[0])


def test_killing_a_worker_at_random_moments_loses_and_doubles_nothing(deployment: Deployment) -> None:
    rng = random.Random(11)
    api, worker = deployment.api(), deployment.worker()
    deployment.start(api, worker, deployment.scheduler())
    create(api.http)
    jobs, killed_in_a_batch = [], 0
    for number in range(KILLS):
        jobs += [post(api.http, some_documents(10 * number + i, BATCH))["id"] for i in range(8)]
        wait_until(lambda: running_batches(deployment) > 0, "the worker has a batch")
        threading.Event().wait(rng.uniform(0.0, 0.3))
        worker.kill()
        killed_in_a_batch += running_batches(deployment) > 0
        worker.start()
    assert killed_in_a_batch, "no kill hit a batch"
    wait_until(lambda: count(api.http)["pending"] == 0, "nothing is pending")
    total = KILLS * 8 * BATCH
    assert count(api.http) == {"total": total, "searchable": total, "pending": 0, "failed": 0}
    assert api.http.get("/v1/collections/c").json()["passages"] == total, "each text is one passage"
    assert all(job_of(api.http, job)["done"] == BATCH for job in jobs)
    check_searchable(api.http, some_documents(10, BATCH))


def test_a_worker_told_to_end_finishes_or_gives_back_its_batches(deployment: Deployment) -> None:
    api, worker = deployment.api(), deployment.worker()
    deployment.start(api, worker)
    create(api.http)
    for number in range(12):
        post(api.http, some_documents(number, BATCH))
    wait_until(lambda: running_batches(deployment) > 0, "the worker has a batch")
    assert worker.stop() == 0
    assert running_batches(deployment) == 0
    assert count(api.http)["pending"] > 0, "the worker must have ended before it was through"
    worker.start()  # without a scheduler: what the first left is still in Redis
    wait_until(lambda: count(api.http)["searchable"] == 12 * BATCH, "all are searchable")


def test_tasks_delivered_twice_and_in_any_order_do_the_same(deployment: Deployment) -> None:
    api, worker = deployment.api(), deployment.worker()
    deployment.start(api)
    create(api.http)
    versions = [
        [document | {"text": f"{document['text']} Version {n}."} for document in some_documents(0, BATCH)]
        for n in range(3)
    ]
    jobs = [post(api.http, documents)["id"] for documents in versions]
    jobs += [post(api.http, some_documents(number, BATCH))["id"] for number in range(1, 8)]
    with deployment.redis.client() as redis:
        messages = redis.lrange("ingest", 0, -1) * 3
        random.Random(5).shuffle(messages)
        redis.delete("ingest")
        redis.rpush("ingest", *messages)
        worker.start()
        wait_until(
            lambda: redis.llen("ingest") == 0 and count(api.http)["pending"] == 0, "all are worked off"
        )
    assert count(api.http) == {"total": 8 * BATCH, "searchable": 8 * BATCH, "pending": 0, "failed": 0}
    found = all_documents(api.http)
    assert all(found[document["id"]] == document["text"] for document in versions[-1]), "the last one wins"
    for job in jobs:
        after = job_of(api.http, job)
        assert (after["total"], after["done"] + after["failed"]) == (BATCH, BATCH)
    assert worker.stop() == 0


def test_redis_may_hang_stop_and_come_back_empty(deployment: Deployment) -> None:
    api, worker, redis = deployment.api(), deployment.worker(), deployment.redis
    deployment.start(api, worker, deployment.scheduler())
    create(api.http)
    post(api.http, some_documents(0, BATCH))
    wait_until(lambda: count(api.http)["searchable"] == BATCH, "the first are searchable")
    redis.pause()
    check_api_goes_on(api.http, 1)
    redis.resume()
    redis.stop()
    check_api_goes_on(api.http, 2)
    check_api_goes_on(api.http, 3)
    assert api.http.get("/health/ready").status_code == 200
    redis.start()  # empty: it saves nothing
    wait_until(lambda: count(api.http)["searchable"] == 4 * BATCH, "the sweep found the rest")
    with redis.client() as client:
        client.flushall()
    post(api.http, some_documents(4, BATCH))
    wait_until(lambda: count(api.http)["searchable"] == 5 * BATCH, "an emptied Redis takes tasks at once")
    assert worker.is_running


def check_api_goes_on(http: httpx.Client, number: int) -> None:
    """Documents are accepted and searches answered, in bounded time."""
    started_s = time.monotonic()
    post(http, some_documents(number, BATCH))
    assert search(http, some_documents(0, 1)[0]["text"])[0] == "0-0"
    assert time.monotonic() - started_s < 10
