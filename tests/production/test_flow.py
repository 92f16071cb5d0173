"""API, workers and scheduler as processes: documents become searchable once, and soon, on every API."""

from __future__ import annotations

import time

import pytest

from tests.production.processes import Deployment, wait_until
from tests.production.traffic import (
    all_documents,
    check_searchable,
    count,
    job_of,
    post,
    search,
    some_documents,
)

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("workers", [1, 2])
def test_documents_become_searchable_and_processes_end_well(deployment: Deployment, workers: int) -> None:
    api = deployment.api()
    crew = [deployment.worker(f"worker-{number}") for number in range(workers)]
    for process in crew:
        process.launch()
    api.start()
    for process in crew:
        process.wait_ready()
    api.http.put("/v1/collections/c", json={}).raise_for_status()
    for number in range(6):
        post(api.http, some_documents(number, 200))
    wait_until(lambda: count(api.http)["searchable"] == 1200, "all are searchable")
    assert count(api.http) == {"total": 1200, "searchable": 1200, "pending": 0, "failed": 0}
    check_searchable(api.http, some_documents(3, 200))
    assert [process.stop() for process in [*crew, api]] == [0] * (workers + 1)


def test_an_import_runs_in_a_worker(deployment: Deployment) -> None:
    api, worker = deployment.api(), deployment.worker()
    worker.launch()
    api.start()
    worker.wait_ready()
    api.http.put("/v1/collections/c", json={}).raise_for_status()
    rows = "".join(f"{d['id']},{d['text']}\n" for d in some_documents(0, 3000))
    files = {"file": ("rows.csv", f"id,text\n{rows}")}
    job = api.http.post("/v1/collections/c/import", files=files).raise_for_status().json()["job"]
    wait_until(lambda: job_of(api.http, job["id"])["state"] == "succeeded", "the import is done")
    assert job_of(api.http, job["id"])["done"] == 3000
    assert len(all_documents(api.http)) == 3000


def test_two_apis_serve_a_new_document_within_a_second(deployment: Deployment) -> None:
    first, second, worker = deployment.api("api"), deployment.api("api-2"), deployment.worker()
    worker.launch()
    first.start()
    second.start()
    worker.wait_ready()
    first.http.put("/v1/collections/c", json={}).raise_for_status()
    for number in range(5):
        document = some_documents(number, 1)[0]
        job = post(first.http, [document])
        wait_until(lambda job=job: job_of(first.http, job["id"])["state"] == "succeeded", "it is committed")
        committed_s = time.monotonic()
        for api in (second, first):
            wait_until(lambda api=api, d=document: search(api.http, d["text"])[:1] == [d["id"]], "served", 5)
        assert time.monotonic() - committed_s < 1.0


def test_min_seq_reads_its_own_writes_on_either_api(deployment: Deployment) -> None:
    first, second, worker = deployment.api("api"), deployment.api("api-2"), deployment.worker()
    worker.launch()
    first.start()
    second.start()
    worker.wait_ready()
    first.http.put("/v1/collections/c", json={}).raise_for_status()
    for number, (writer, reader) in enumerate([(first, second), (second, first)] * 3):
        document = some_documents(number, 1)[0]
        answer = writer.http.post(
            "/v1/collections/c/documents", params={"wait": True}, json={"documents": [document]}
        )
        assert answer.status_code == 200
        seq = writer.http.get("/v1/collections/c").json()["index"]["seq"]
        assert search(reader.http, document["text"], min_seq=seq)[0] == document["id"]
