"""Backups over HTTP: made, listed, verified, restored and deleted; refusals say why."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cognate.settings import Settings

ADMIN = "/v1/admin/backups"


def finished(client: TestClient, answer: Any) -> dict[str, Any]:
    """The job of an answer, at its end."""
    assert answer.status_code == 202, answer.text
    ends = time.monotonic() + 60
    while True:
        job = dict(client.get(f"/v1/jobs/{answer.json()['job']['id']}").json())
        if job["finished_at"] is not None:
            return job
        assert time.monotonic() < ends, job
        time.sleep(0.02)


def add(client: TestClient, path: str, count: int) -> None:
    documents = [
        {"id": f"d{i}", "text": f"text of number {i} and {i % 7}", "metadata": {"year": i}}
        for i in range(count)
    ]
    answer = client.post(f"{path}/documents", json={"documents": documents}, params={"wait": True})
    assert answer.status_code == 200, answer.text


def answers(client: TestClient, collection: str) -> list[Any]:
    """Hits of searches, ties among them, with their scores."""
    queries = ("number 3", "text", "of and 5", "nothing at all")
    found = [
        client.post(f"/v1/collections/{collection}/search", json={"query": query, "k": 50})
        for query in queries
    ]
    return [answer.json()["hits"] for answer in found]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_restored_collection_answers_as_the_saved_one_did(
    client: TestClient, news: str, replaced: bool
) -> None:
    add(client, news, 60)
    before, described = answers(client, "news"), client.get(news).json()
    job = finished(client, client.post(ADMIN, json={"name": "first", "collection": "news"}))
    assert (job["state"], job["kind"], job["total"], job["done"]) == ("succeeded", "backup", 60, 60)
    assert (job["backup"], job["collection"]) == ("first", "news")
    target = "news" if replaced else "copy"
    if replaced:
        add(client, news, 70)
        client.request("DELETE", f"{news}/documents/d3")
    body = {"collection": "news", "replace": True} if replaced else {"as": "copy"}
    job = finished(client, client.post(f"{ADMIN}/first/restore", json=body))
    assert (job["state"], job["done"], job["collection"]) == ("succeeded", 60, target)
    assert answers(client, target) == before
    now = client.get(f"/v1/collections/{target}").json()
    assert now["documents"] == described["documents"]
    assert now["index"]["applied_seq"] == now["index"]["seq"] == described["index"]["seq"]
    add(client, f"/v1/collections/{target}", 80)  # it goes on


def test_backups_are_listed_verified_and_deleted(client: TestClient, news: str) -> None:
    add(client, news, 5)
    assert client.get(ADMIN).json() == {"backups": []}
    name = finished(client, client.post(ADMIN))["backup"]  # the time is its name
    (listed,) = client.get(ADMIN).json()["backups"]
    assert listed == client.get(f"{ADMIN}/{name}").json()
    assert listed["collections"][0]["documents"] == {"total": 5, "searchable": 5, "pending": 0, "failed": 0}
    assert listed["bytes"] > 500
    job = finished(client, client.post(f"{ADMIN}/{name}/verify"))
    assert (job["state"], job["kind"], job["done"]) == ("succeeded", "verify", 5)
    assert client.delete(f"{ADMIN}/{name}").status_code == 204
    assert client.get(f"{ADMIN}/{name}").status_code == 404
    assert client.delete(f"{ADMIN}/{name}").status_code == 404


def test_everything_is_restored_into_an_empty_instance(client: TestClient, news: str) -> None:
    for name in ("a", "b"):
        client.put(f"/v1/collections/{name}", json={"description": f"of {name}"})
        add(client, f"/v1/collections/{name}", 20)
    before = answers(client, "a")
    finished(client, client.post(ADMIN, json={"name": "all"}))
    for name in ("a", "b", "news"):
        client.delete(f"/v1/collections/{name}")
    job = finished(client, client.post(f"{ADMIN}/all/restore"))
    assert (job["state"], job["total"], job["done"]) == ("succeeded", 40, 40)
    listed = client.get("/v1/collections").json()["collections"]
    assert [one["name"] for one in listed] == ["a", "b", "news"]
    assert [one["description"] for one in listed] == ["of a", "of b", ""]
    assert answers(client, "a") == before


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("", {"name": "first"}, 409, "exists"),
        ("", {"name": "../first"}, 422, "not allowed"),
        ("", {"name": ".first"}, 422, "not allowed"),
        ("", {"name": "a/b"}, 422, "not allowed"),
        ("", {"name": "x" * 101}, 422, "not allowed"),
        ("", {"collection": "gone"}, 404, "does not exist"),
        ("", {"colection": "news"}, 422, "not a known field"),
        ("/gone/restore", {}, 404, "does not exist"),
        ("/..%2Ffirst/restore", {}, 404, ""),
        ("/.first/restore", {}, 422, "not allowed"),
        ("/first/restore", {}, 409, "exists"),
        ("/first/restore", {"collection": "gone"}, 404, "it has news, other"),
        ("/first/restore", {"as": "new"}, 422, "which collection"),
        ("/first/restore", {"collection": "news", "as": "../x"}, 422, "not allowed"),
        ("/first/restore", {"collection": "news", "as": ".restoring-1"}, 422, "not allowed"),
        ("/broken/restore", {}, 422, "no whole backup"),
        ("/broken/verify", None, 422, "no whole backup"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    client: TestClient, news: str, settings: Settings, path: str, body: Any, status: int, told: str
) -> None:
    client.put("/v1/collections/other", json={})
    finished(client, client.post(ADMIN, json={"name": "first"}))
    (settings.data_dir / "backups" / "broken.zip").write_bytes(b"PK")
    answer = client.post(ADMIN + path, json=body)
    assert answer.status_code == status, answer.text
    assert told in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_backup_of_another_encoder_is_refused(client: TestClient, news: str, settings: Settings) -> None:
    """A server does not start beside a collection of another encoder, so none is let in."""
    finished(client, client.post(ADMIN, json={"name": "first"}))
    path = settings.data_dir / "backups" / "first.zip"
    change_encoder(path)
    answer = client.post(f"{ADMIN}/first/restore", json={"as": "copy"})
    assert answer.status_code == 409
    assert "holds vectors of encoder" in answer.json()["detail"]


def change_encoder(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        files = {name: old.read(name) for name in old.namelist()}
    files["manifest.json"] = files["manifest.json"].replace(b"f" * 64, b"e" * 64)
    with zipfile.ZipFile(path, "w") as new:
        for name, content in files.items():
            new.writestr(name, content)


def test_a_backup_damaged_after_the_request_fails_its_job(
    client: TestClient, news: str, settings: Settings
) -> None:
    add(client, news, 5)
    finished(client, client.post(ADMIN, json={"name": "first"}))
    path = settings.data_dir / "backups" / "first.zip"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    job = finished(client, client.post(f"{ADMIN}/first/restore", json={"as": "copy"}))
    assert (job["state"], job["done"], job["failed"]) == ("failed", 0, 5)
    assert "damaged" in job["errors"][0]["reason"]
    assert client.get("/v1/collections/copy").status_code == 404
