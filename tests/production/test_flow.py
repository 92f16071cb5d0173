"""Two APIs, two workers: documents become searchable once, and soon, on every API."""

from __future__ import annotations

import time

import pytest

from tests.production.conftest import Standing
from tests.production.processes import Api
from tests.production.traffic import (
    all_documents,
    check_searchable,
    count,
    create,
    is_applied,
    job_of,
    post,
    search,
    some_documents,
)
from tests.production.truth import running_batches, stored_vectors
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def apis(standing: Standing) -> tuple[Api, Api]:
    return standing.first, standing.second


def test_documents_become_searchable_by_two_workers(apis: tuple[Api, Api]) -> None:
    first, second = apis
    create(first.http)
    for number in range(5):
        post(first.http, some_documents(number, 200))
    wait_until(lambda: count(first.http)["searchable"] == 1000, "all are searchable")
    assert (
        count(first.http)
        == count(second.http)
        == {"total": 1000, "searchable": 1000, "pending": 0, "failed": 0}
    )
    wait_until(lambda: is_applied(first.http), "its index has followed")
    check_searchable(first.http, some_documents(3, 200))


def test_an_import_runs_in_a_worker(apis: tuple[Api, Api]) -> None:
    http = apis[0].http
    create(http, "imported")
    rows = "".join(f"{d['id']},{d['text']}\n" for d in some_documents(0, 1000))
    answer = http.post("/v1/collections/imported/import", files={"file": ("rows.csv", f"id,text\n{rows}")})
    job_id = answer.raise_for_status().json()["job"]["id"]
    wait_until(lambda: job_of(http, job_id)["state"] == "succeeded", "the import is done")
    assert job_of(http, job_id)["done"] == 1000
    assert len(all_documents(http, "imported")) == 1000


def test_both_apis_serve_a_new_document_within_a_second(apis: tuple[Api, Api]) -> None:
    first, second = apis
    create(first.http, "fresh")
    waited_s = [seconds_until_served(first, second, number) for number in range(5)]
    assert sorted(waited_s)[-2] < 1.0, waited_s  # other tests on the same cores may hold up one of them


def seconds_until_served(first: Api, second: Api, number: int) -> float:
    """From the commit of a new document until both APIs find it."""
    document = some_documents(number, 1)[0]
    job_id = post(first.http, [document], "fresh")["id"]
    wait_until(lambda: job_of(first.http, job_id)["state"] == "succeeded", "committed")
    committed_s = time.monotonic()
    for api in (second, first):
        wait_until(lambda api=api: document["id"] in search(api.http, document["text"], "fresh"), "served")  # type: ignore[misc]
    return time.monotonic() - committed_s


def test_a_job_cancelled_on_the_other_api_changes_nothing_from_a_second_later_on(
    standing: Standing, apis: tuple[Api, Api]
) -> None:
    first, second = apis
    create(first.http, "cancelled")
    long = " ".join(f"word {i} of many" for i in range(50))
    parts = [
        [document | {"text": f"{document['text']} {long}"} for document in some_documents(number, 300)]
        for number in range(5)
    ]
    jobs = [post(first.http, part, "cancelled")["id"] for part in parts]
    wait_until(lambda: count(first.http, "cancelled")["searchable"] > 0, "some are searchable")
    for job in jobs:
        second.http.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    time.sleep(1.0)
    after = count(first.http, "cancelled")
    assert after["pending"] == 0
    assert after["failed"] > 0, "the jobs must not have been over by then"
    ended = [job_of(first.http, job) for job in jobs]
    assert ended[-1]["state"] == "cancelled"
    assert all(job["done"] + job["failed"] == job["total"] == 300 for job in ended)
    assert sum(job["done"] for job in ended) == after["searchable"]
    post(first.http, [{"id": "next", "text": "The workers are free for this one."}], "cancelled")
    wait_until(
        lambda: count(first.http, "cancelled")["searchable"] > after["searchable"], "the next is there"
    )
    wait_until(lambda: running_batches(standing.deployment) == 0, "no worker has a batch")
    assert count(first.http, "cancelled") == {
        "total": 1501, "searchable": after["searchable"] + 1, "pending": 0, "failed": after["failed"],
    }  # fmt: skip
    assert len(stored_vectors(standing.deployment, "cancelled")) == after["searchable"] + 1


def test_min_seq_reads_its_own_writes_on_either_api(apis: tuple[Api, Api]) -> None:
    first, second = apis
    create(first.http, "own")
    for number, (writer, reader) in enumerate([(first, second), (second, first)] * 3):
        document = some_documents(number, 1)[0]
        url, body = "/v1/collections/own/documents", {"documents": [document]}
        assert writer.http.post(url, params={"wait": True}, json=body).status_code == 200
        seq = writer.http.get("/v1/collections/own").json()["index"]["seq"]
        assert search(reader.http, document["text"], "own", min_seq=seq)[0] == document["id"]


def test_a_backup_is_made_and_restored_by_a_worker(apis: tuple[Api, Api]) -> None:
    http, documents = apis[0].http, some_documents(7, 300)
    create(http, "kept")
    job_id = post(http, documents, "kept")["id"]
    wait_until(lambda: job_of(http, job_id)["state"] == "succeeded", "all are searchable")
    made = http.post("/v1/admin/backups", json={"name": "b", "collection": "kept"}).raise_for_status().json()
    wait_until(lambda: job_of(http, made["job"]["id"])["state"] == "succeeded", "the backup is made")
    http.delete("/v1/collections/kept").raise_for_status()
    restored = http.post("/v1/admin/backups/b/restore").raise_for_status().json()
    wait_until(lambda: job_of(http, restored["job"]["id"])["state"] == "succeeded", "it is restored")
    assert all_documents(http, "kept") == {document["id"]: document["text"] for document in documents}
    for api in apis:
        min_seq = api.http.get("/v1/collections/kept").json()["index"]["seq"]
        found = search(api.http, documents[5]["text"], "kept", min_seq=min_seq)
        assert found[0] == documents[5]["id"]
