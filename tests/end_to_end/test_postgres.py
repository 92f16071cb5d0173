"""The whole service on Postgres: the command that upgrades, two processes, and an outage seen over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cognate import bootstrap, embedded
from cognate.server import make_app
from cognate.settings import Settings
from migrations.upgrade import check
from storage.database import Database
from tests.fakes import FakeEncoder
from tests.postgres import PostgresServer
from tests.storage.world import World, new
from tests.waiting import wait_until

TIMEOUT_S = 60.0
ROOT = Path(__file__).parents[2]
LEASE_S = 3.0  # short enough to see one run out

UPSERTS = """
import sys
from storage.database import Database
from tests.storage.world import World, encode, new
url, writer = sys.argv[1:]
database = Database(url)
world = World(database)
for turn in range(15):
    documents = [new(f"shared-{i}", f"by {writer} in {turn}") for i in range(20)]
    documents.append(new(f"own-{writer}-{turn}"))
    accepted = world.documents.submit(world.id, documents, [])
    for batch_id in accepted.batch_ids:
        batch = world.batches.claim(batch_id, 60)
        if batch:
            world.batches.complete(batch, encode(batch.items), [])
database.close()
"""


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.create_migrated_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def client(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(embedded, "SWEEP_EVERY_S", 0.2)
    settings = Settings(data_dir=tmp_path / "data", database_url=postgres_url, lease_s=LEASE_S)
    with bootstrap.open_runtime(settings, FakeEncoder()) as services:
        app = make_app(services, settings)
        with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as running:
            yield running


def send(client: TestClient, turn: int) -> Any:
    documents = [{"id": f"{turn}-{i}", "text": f"word{turn} and {i}"} for i in range(10)]
    return client.post("/v1/collections/news/documents", json={"documents": documents})


def states_of(client: TestClient, jobs: list[str]) -> set[str]:
    return {client.get(f"/v1/jobs/{job_id}").json()["state"] for job_id in jobs}


@pytest.mark.integration
def test_the_service_answers_503_while_postgres_is_away_and_then_goes_on_by_itself(
    postgres: PostgresServer, client: TestClient
) -> None:
    assert client.put("/v1/collections/news", json={}).status_code == 201
    jobs = [send(client, turn).json()["job"]["id"] for turn in range(5)]
    postgres.stop("immediate")  # batches of the last documents may be under way
    try:
        search = {"query": "word1"}
        for answer in (
            send(client, 5),
            client.post("/v1/collections/news/search", json=search),
            client.get("/v1/collections/news"),
            client.get("/v1/collections/news/documents"),
            client.get(f"/v1/jobs/{jobs[0]}"),
        ):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), answer.text
            assert answer.json()["detail"] == "the database is away or restarting; retry"
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503
    finally:
        postgres.start()

    wait_until(lambda: client.get("/health/ready").status_code == 200, "readiness", TIMEOUT_S)
    jobs.append(send(client, 5).json()["job"]["id"])
    wait_until(lambda: states_of(client, jobs) == {"succeeded"}, "all accepted documents", TIMEOUT_S)
    counts = client.get("/v1/collections/news").json()["documents"]
    assert counts == {"total": 60, "searchable": 60, "pending": 0, "failed": 0}

    def found() -> set[str]:
        answer = client.post("/v1/collections/news/search", json={"query": "word5", "k": 10})
        return {hit["id"] for hit in answer.json()["hits"]}

    wait_until(
        lambda: found() == {f"5-{i}" for i in range(10)}, "the newest documents in the index", TIMEOUT_S
    )


@pytest.mark.integration
def test_two_processes_that_upsert_the_same_ids_converge(postgres_url: str) -> None:
    database = Database(postgres_url)
    world = World(database)
    commands = [[sys.executable, "-c", UPSERTS, postgres_url, name] for name in "ab"]
    processes = [
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) for command in commands
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert world.counts() == (20 + 2 * 15, 0, 0)
    assert world.batches.unfinished() == []
    assert {(str(job.state), job.done) for job in world.jobs.list(100)} == {("succeeded", 21)}
    found = world.found()
    assert len({found[f"shared-{i}"] for i in range(20)}) == 1, "what was committed last, whole"
    for id_, text in found.items():
        assert world.documents.get(world.id, id_).text == text
    world.add(new("shared-0", "the newest"))
    assert world.found()["shared-0"] == "the newest"
    database.close()


@pytest.mark.integration
def test_the_command_makes_the_tables_on_postgres(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres.create_database()
    url = postgres.url(name)
    monkeypatch.setenv("COGNATE_DATABASE_URL", url.replace("postgresql+psycopg://", "postgres://"))
    monkeypatch.setenv("COGNATE_DATA_DIR", str(tmp_path))
    command = [sys.executable, "-c", "from cognate.cli import main; main()", "db", "upgrade"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check(url)
    postgres.drop_database(name)
