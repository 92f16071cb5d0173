"""kill -9 while a backup is made or restored: it goes on after the start, and never shows by halves."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.end_to_end.server_process import ServerProcess

pytestmark = pytest.mark.integration

DOCUMENTS = 2000
KILLS = 3
TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """With one collection; ids stand for texts that are all alike, so that they are encoded fast."""
    process = ServerProcess(tmp_path_factory.mktemp("backups") / "data")
    process.start()
    process.http.put("/v1/collections/c", json={}).raise_for_status()
    documents = [{"id": f"d{i}", "text": f"Text {i}.", "metadata": {"n": i}} for i in range(DOCUMENTS)]
    job = process.http.post("/v1/collections/c/documents", json={"documents": documents}).json()["job"]
    assert finished(process, job["id"])["state"] == "succeeded"
    yield process
    process.stop()


def finished(server: ServerProcess, job_id: str) -> dict[str, Any]:
    ends = time.monotonic() + TIMEOUT_S
    while True:
        job = dict(server.http.get(f"/v1/jobs/{job_id}").json())
        if job["finished_at"] is not None:
            return job
        assert time.monotonic() < ends, job
        time.sleep(0.05)


def described(http: httpx.Client, name: str) -> tuple[Any, ...]:
    found = http.get(f"/v1/collections/{name}").raise_for_status().json()
    return found["documents"], found["passages"], found["index"]["seq"]


def hits(http: httpx.Client, name: str) -> Any:
    answer = http.post(f"/v1/collections/{name}/search", json={"query": "Text 77.", "k": 50})
    return answer.raise_for_status().json()["hits"]


def names(http: httpx.Client) -> set[str]:
    return {one["name"] for one in http.get("/v1/collections").json()["collections"]}


def test_a_killed_backup_is_made_again_and_never_listed_by_halves(server: ServerProcess) -> None:
    rng, jobs = random.Random(5), []
    for number in range(KILLS):
        answer = server.http.post("/v1/admin/backups", json={"name": f"b{number}"})
        jobs.append(answer.raise_for_status().json()["job"]["id"])
        time.sleep(rng.uniform(0.0, 0.3))
        server.kill()
        server.start()
        for backup in server.http.get("/v1/admin/backups").json()["backups"]:
            assert backup["problem"] is None
            assert backup["collections"][0]["documents"]["searchable"] == DOCUMENTS
    for number, job_id in enumerate(jobs):
        assert finished(server, job_id)["state"] == "succeeded", number
        verified = server.http.post(f"/v1/admin/backups/b{number}/verify").json()["job"]["id"]
        assert finished(server, verified)["done"] == DOCUMENTS


def test_a_killed_restore_is_finished_after_the_start_and_never_seen_by_halves(
    server: ServerProcess,
) -> None:
    rng = random.Random(6)
    job = server.http.post("/v1/admin/backups", json={"name": "whole"}).json()["job"]["id"]
    assert finished(server, job)["state"] == "succeeded"
    expected, answer = described(server.http, "c"), hits(server.http, "c")
    for number in range(KILLS):
        target = f"copy{number}"
        body = {"collection": "c", "as": target}
        job = (
            server.http.post("/v1/admin/backups/whole/restore", json=body)
            .raise_for_status()
            .json()["job"]["id"]
        )
        time.sleep(rng.uniform(0.0, 0.5))
        server.kill()
        server.start()
        while server.http.get(f"/v1/jobs/{job}").json()["finished_at"] is None:
            if target in names(server.http):
                assert described(server.http, target) == expected
        assert finished(server, job)["state"] == "succeeded"
        assert described(server.http, target) == expected
        assert hits(server.http, target) == answer
    assert names(server.http) == {"c", *(f"copy{number}" for number in range(KILLS))}
