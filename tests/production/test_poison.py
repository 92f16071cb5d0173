"""A document that kills every Celery worker which encodes it fails alone; the other 999 are searchable."""

from __future__ import annotations

import pytest

from storage.bisecting import CRASHED, MAX_TRIES
from tests.production.conftest import Bare
from tests.production.mortal_worker import DEADLY, DIED
from tests.production.processes import Process
from tests.production.traffic import check_searchable, count, create, is_applied, job_of, post, some_documents
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

DOCUMENTS = 1000
POISON = 500
MOST_CRASHES = 13  # 3 of the batch of 256, one each of 128, 64, 32, 16, 8, 4 and 2, 3 alone


def restart_until_done(worker: Process, bare: Bare, collection: str) -> int:
    """As a restart policy does; how often the worker died of the document."""
    deaths = 0
    while count(bare.api.http, collection)["pending"]:
        wait_until(
            lambda: not worker.is_running or count(bare.api.http, collection)["pending"] == 0,
            "the worker has died, or done it all",
        )
        if not worker.is_running:
            assert worker.exit_status() == DIED, worker.output()
            deaths += 1
            assert deaths <= MOST_CRASHES
            worker.start()
    return deaths


def test_a_document_that_kills_its_workers_fails_alone(bare: Bare) -> None:
    http = bare.api.http
    worker = bare.deployment.worker(module="tests.production.mortal_worker", lease_s="1")
    create(http, "poisoned")
    documents = some_documents(0, DOCUMENTS)
    documents[POISON]["text"] = f"This one is {DEADLY}."
    job_id = post(http, documents, "poisoned")["id"]
    with bare.deployment.running(worker, bare.deployment.scheduler(lease_s="1", sweep_every_s="0.2")):
        assert restart_until_done(worker, bare, "poisoned") == MOST_CRASHES
    expected = {"total": DOCUMENTS, "searchable": DOCUMENTS - 1, "pending": 0, "failed": 1}
    assert count(http, "poisoned") == expected
    job = job_of(http, job_id)
    assert (job["state"], job["done"], job["failed"]) == ("partial", DOCUMENTS - 1, 1)
    poison = documents.pop(POISON)
    assert job["errors"] == [{"id": poison["id"], "reason": CRASHED.format(tries=MAX_TRIES)}]
    assert http.get("/v1/collections/poisoned").json()["passages"] == DOCUMENTS - 1, "each once"
    wait_until(lambda: is_applied(http, "poisoned"), "the index has followed")
    check_searchable(http, documents, "poisoned")
