"""`cognate backup` against a running server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cognate.bootstrap import open_runtime
from cognate.server import ServerThread, bind, make_app, url_of
from cognate.settings import Settings
from tests.fakes import FakeEncoder
from tests.test_architecture import ROOT

pytestmark = pytest.mark.integration


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server with a collection of three documents."""
    settings = Settings(data_dir=tmp_path / "data", port=0)
    with open_runtime(settings, FakeEncoder()) as services:
        listener = bind(settings)
        thread = ServerThread(make_app(services, settings), listener)
        thread.start()
        try:
            with httpx.Client(base_url=url_of(listener), timeout=60) as client:
                client.put("/v1/collections/news", json={}).raise_for_status()
                documents = [{"id": str(i), "text": f"text {i}"} for i in range(3)]
                added = client.post("/v1/collections/news/documents?wait=true", json={"documents": documents})
                assert added.status_code == 200
                yield client
        finally:
            thread.stop()


def run(http: httpx.Client, *arguments: str) -> tuple[int, str]:
    """Exit status and output of the command, as one line."""
    environment = {**os.environ, "COGNATE_URL": str(http.base_url), "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cognate", "backup", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    return ended.returncode, " ".join((ended.stdout + ended.stderr).split())


def searchable(http: httpx.Client, name: str) -> int:
    return int(http.get(f"/v1/collections/{name}").json()["documents"]["searchable"])


def test_a_backup_is_made_listed_verified_restored_and_deleted(http: httpx.Client) -> None:
    status, told = run(http, "create", "first")
    assert (status, "Backup first: 3 documents" in told) == (0, True), told
    _, listed = run(http, "list")
    assert "first" in listed
    assert "news" in listed
    assert "Backup first is whole: 3 documents." in run(http, "verify", "first")[1]
    status, told = run(http, "restore", "first", "-c", "news", "--as", "copy")
    assert (status, "Restored 3 documents." in told) == (0, True), told
    assert searchable(http, "copy") == 3
    assert "Backup first is deleted." in run(http, "delete", "first")[1]
    assert http.get("/v1/admin/backups").json() == {"backups": []}
    status, told = run(http, "restore", "first")
    assert (status, "does not exist" in told) == (1, True), told


def test_a_job_that_fails_is_told_with_its_reason(http: httpx.Client, tmp_path: Path) -> None:
    run(http, "create", "first")
    path = tmp_path / "data" / "backups" / "first.zip"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    status, told = run(http, "verify", "first")
    assert status == 2
    assert "verifying has failed: The backup is damaged" in told
    assert searchable(http, "news") == 3
