"""kill -9 during an import and during its upload: each row once, and no upload by halves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.server_process import ServerProcess
from tests.end_to_end.test_kill import all_documents

pytestmark = pytest.mark.integration

KILLS = 4
ROWS = 24_000
GOOD_EVERY = 12  # the others are bad: they are counted row by row, and cost no encoding
WAIT_S = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    process.start()
    process.http.put("/v1/collections/c", json={}).raise_for_status()
    yield process
    process.stop()


def row(number: int) -> str:
    text = f"Row {number}." if number % GOOD_EVERY == 0 else ""
    return json.dumps({"id": str(number), "text": text}) + "\n"


def eventually(get: Callable[[], Any]) -> Any:
    """The first answer that is true."""
    deadline = time.monotonic() + WAIT_S
    while not (found := get()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


def test_killed_again_and_again_an_import_brings_each_row_once(server: ServerProcess, tmp_path: Path) -> None:
    content = "".join(map(row, range(ROWS)))
    answer = server.http.post("/v1/collections/c/import", files={"file": ("rows.jsonl", content)})
    assert answer.status_code == 202, answer.text
    job_id, read = answer.json()["job"]["id"], [0]

    def further() -> int:
        """Rows read, once there are more of them than at the last kill."""
        total = int(_job(server.http, job_id)["total"])
        return total if total > read[-1] else 0

    for _ in range(KILLS):
        read.append(eventually(further))
        server.kill()
        server.start()
    assert read[1] < ROWS, "the first kill must strike before the end of the file"
    job = eventually(lambda: _finished(server.http, job_id))
    good = range(0, ROWS, GOOD_EVERY)
    assert (job["total"], job["done"], job["failed"]) == (ROWS, len(good), ROWS - len(good))
    documents = all_documents(server.http)
    assert {d["id"]: d["text"] for d in documents} == {str(i): f"Row {i}." for i in good}
    assert len(documents) == len(good)
    counts = server.http.get("/v1/collections/c").json()
    assert (
        counts["documents"]["searchable"] == counts["documents"]["total"] == counts["passages"] == len(good)
    )
    assert list((tmp_path / "data" / "uploads").iterdir()) == []


def _job(http: httpx.Client, job_id: str) -> dict[str, Any]:
    """Without its errors, of which there are many."""
    return next(job for job in http.get("/v1/jobs").json()["jobs"] if job["id"] == job_id)


def _finished(http: httpx.Client, job_id: str) -> dict[str, Any] | None:
    job = _job(http, job_id)
    return job if job["finished_at"] else None


def test_killed_during_the_upload_nothing_is_there_by_halves(server: ServerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "uploads"
    is_dead = threading.Event()

    def endless() -> Iterator[bytes]:
        head = 'Content-Disposition: form-data; name="file"; filename="rows.jsonl"'
        yield f"--b\r\n{head}\r\n\r\n".encode()
        while True:
            yield "".join(map(row, range(0, 12_000, GOOD_EVERY))).encode()
            if is_dead.wait(0.001):
                return

    def upload() -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        with pytest.raises((httpx.TransportError, RuntimeError)):  # the server, or this side, was closed
            server.http.post("/v1/collections/c/import", content=endless(), headers=headers)
        broken.set()

    broken = threading.Event()
    thread = threading.Thread(target=upload)
    thread.start()
    eventually(lambda: any(path.stat().st_size > 1 << 20 for path in folder.iterdir()))
    assert all(path.suffix == ".part" for path in folder.iterdir())
    server.kill()
    is_dead.set()
    thread.join(WAIT_S)
    assert broken.is_set()
    server.start()
    assert list(folder.iterdir()) == []
    assert server.http.get("/v1/jobs").json()["jobs"] == []
    assert server.http.get("/v1/collections/c").json()["documents"]["total"] == 0


def test_killed_around_the_answer_an_import_is_whole_or_absent(server: ServerProcess) -> None:
    rows, kills = 240, 6
    names = [f"c{number}" for number in range(kills + 2)]
    content = "".join(map(row, range(0, rows * GOOD_EVERY, GOOD_EVERY)))
    answered: list[str] = []
    for name in names:
        server.http.put(f"/v1/collections/{name}", json={}).raise_for_status()
    _post(server.http, names[0], content, answered)
    started = time.monotonic()
    _post(server.http, names[1], content, answered)
    took_s = time.monotonic() - started
    assert answered == names[:2]
    for number, name in enumerate(names[2:]):
        thread = threading.Thread(target=_post, args=(server.http, name, content, answered))
        thread.start()
        thread.join(
            took_s * number / (kills - 2)
        )  # from before its first byte is read until after its answer
        server.kill()
        thread.join(WAIT_S)
        server.start()
    for name in names:
        counts = eventually(partial(_settled, server.http, name))
        assert counts["total"] == counts["searchable"]
        assert counts["searchable"] in ((rows,) if name in answered else (0, rows)), name


def _post(http: httpx.Client, name: str, content: str, answered: list[str]) -> None:
    try:
        answer = http.post(f"/v1/collections/{name}/import", files={"file": ("rows.jsonl", content)})
    except (httpx.TransportError, RuntimeError):  # the server, or this side, was closed
        return
    if answer.status_code == 202:
        answered.append(name)


def _settled(http: httpx.Client, name: str) -> dict[str, int] | None:
    """Counts of documents once every import into the collection is over."""
    jobs = [job for job in http.get("/v1/jobs").json()["jobs"] if job["collection"] == name]
    if not all(job["finished_at"] for job in jobs):
        return None
    counts: dict[str, int] = http.get(f"/v1/collections/{name}").json()["documents"]
    return counts
