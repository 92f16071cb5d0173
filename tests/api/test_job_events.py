"""Jobs as server-sent events, over a real socket: they tell every change, and end at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from api import job_events
from cognate.server import ServerThread, bind, make_app, url_of
from cognate.settings import Settings
from core.services import Services
from core.types import Float32, Lane, PassageText
from tests.fakes import FakeEncoder

DOCUMENTS = [{"id": str(i), "text": f"text {i}"} for i in range(300)]


@dataclass
class GatedEncoder(FakeEncoder):
    """Encodes a batch each time the gate is opened once; `encoding` tells that one waits there."""

    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    encoding: threading.Event = field(default_factory=threading.Event)

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        self.encoding.set()
        assert self.gate.acquire(timeout=60)
        return super().encode_passages(passages, lane)


@dataclass
class Running:
    """A server on a real socket."""

    http: httpx.Client
    thread: ServerThread
    services: Services
    is_stopped: bool = False

    def stop(self) -> None:
        if not self.is_stopped:
            self.is_stopped = True
            self.thread.stop()


@pytest.fixture
def encoder() -> Iterator[GatedEncoder]:
    gated = GatedEncoder(refuse=lambda text: "poison" in text)
    yield gated
    gated.gate.release(1000)


@pytest.fixture
def running(services: Services, settings: Settings, encoder: GatedEncoder) -> Iterator[Running]:
    local = settings.model_copy(update={"port": 0})
    listener = bind(local)
    thread = ServerThread(make_app(services, local), listener)
    thread.start()
    with httpx.Client(base_url=url_of(listener), timeout=60, trust_env=False) as http:
        http.put("/v1/collections/news", json={}).raise_for_status()
        server = Running(http, thread, services)
        yield server
        encoder.gate.release(1000)
        server.stop()


def submit(running: Running) -> str:
    answer = running.http.post("/v1/collections/news/documents", json={"documents": DOCUMENTS})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job"]["id"])


def frames(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Events and comments as a parser of the standard reads them; an event ends with an empty line."""
    frame: dict[str, str] = {}
    for line in lines:
        if not line:
            yield frame
            frame = {}
        else:
            name, _, value = line.partition(":")
            assert name not in frame
            frame[name or "comment"] = value.removeprefix(" ")


def jobs(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(frame["data"]) for frame in frames(lines) if "data" in frame)


def test_a_stream_tells_the_state_at_once_then_every_change_and_ends(
    running: Running, encoder: GatedEncoder
) -> None:
    job_id = submit(running)
    with running.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        told = frames(answer.iter_lines())
        assert int(next(told)["retry"]) > 0
        events = [next(told)]
        while json.loads(events[-1]["data"])["done"] < 300:
            encoder.gate.release()
            events += [next(told)]
        assert list(told) == [], "the end follows the final state"
    states = [json.loads(event["data"]) for event in events]
    assert {event["event"] for event in events} == {"job"}
    assert len({event["id"] for event in events}) == len(events)
    assert [s["done"] for s in states] == sorted(s["done"] for s in states)
    assert len(states) >= 3, "a change a batch, and the states before and after"
    assert all(s["total"] == 300 for s in states)
    final = running.http.get(f"/v1/jobs/{job_id}").json()
    assert states[-1] == final
    assert (final["state"], events[-1]["id"]) == ("succeeded", "final")


def test_a_finished_job_is_told_once_whatever_last_event_id_says(
    running: Running, encoder: GatedEncoder
) -> None:
    encoder.gate.release(1000)
    job_id = submit(running)
    while running.http.get(f"/v1/jobs/{job_id}").json()["finished_at"] is None:
        time.sleep(0.01)
    for last in ("", "1", "x" * 500, "-1"):
        answer = running.http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last})
        [told] = jobs(iter(answer.text.splitlines()))
        assert (told["state"], told["done"]) == ("succeeded", 300)
    again = running.http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "final"})
    assert (again.status_code, again.content) == (204, b""), "a browser reconnects no more"


def test_head_of_a_stream_ends_while_the_job_goes_on(client: TestClient, encoder: GatedEncoder) -> None:
    client.put("/v1/collections/news", json={})
    job = client.post("/v1/collections/news/documents", json={"documents": DOCUMENTS}).json()["job"]
    with ThreadPoolExecutor(1) as caller:
        try:
            answer = caller.submit(client.head, f"/v1/jobs/{job['id']}/events").result(timeout=30)
        finally:
            encoder.gate.release(1000)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_an_unknown_job_is_a_problem_and_no_stream(client: TestClient) -> None:
    answer = client.get("/v1/jobs/nope/events")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "'nope' does not exist" in answer.json()["detail"]


def test_all_streams_of_a_job_that_is_cancelled_while_it_is_encoded_end(
    running: Running, encoder: GatedEncoder
) -> None:
    job_id = submit(running)
    assert encoder.encoding.wait(60)
    ended: set[int] = set()
    begun = threading.Barrier(13)

    def follow(number: int) -> None:
        with running.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            told = jobs(answer.iter_lines())
            next(told)
            begun.wait(60)
            if [job["state"] for job in told][-1] == "cancelled":
                ended.add(number)

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    job = running.http.post(f"/v1/jobs/{job_id}/cancel").json()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 12
    assert (job["state"], job["total"], job["done"], job["failed"]) == ("cancelled", 300, 0, 300)
    encoder.gate.release(1000)  # what is encoded now is dropped
    wait_until(lambda: len(encoder.encoded) > 0)
    counts = running.http.get("/v1/collections/news").json()["documents"]
    assert counts == {"total": 300, "searchable": 0, "pending": 0, "failed": 300}
    assert running.services.ingest.batches.unfinished() == []


def test_a_silent_stream_sends_comments(
    running: Running, encoder: GatedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "HEARTBEAT_S", 0.0)
    job_id = submit(running)
    assert encoder.encoding.wait(60)
    with running.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        for frame in frames(answer.iter_lines()):
            if "comment" in frame:
                assert "data" not in frame
                break
        else:
            raise AssertionError("the stream ended without a comment")


def test_a_stop_of_the_server_ends_open_streams_at_once(running: Running, encoder: GatedEncoder) -> None:
    job_id = submit(running)
    with running.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        told = frames(answer.iter_lines())
        next(told), next(told)
        started = time.monotonic()
        running.stop()
        took_s = time.monotonic() - started
        list(told)  # ends, rather than breaks off
    assert took_s < 15, "the grace of the server is 20 s"


def test_a_client_that_leaves_is_followed_no_more(running: Running, encoder: GatedEncoder) -> None:
    job_id = submit(running)
    feed = running.thread._server.config.app.state.job_feed  # type: ignore[union-attr]  # our app
    with running.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        told = jobs(answer.iter_lines())  # held on to: dropping it would close the connection
        next(told)
        wait_until(lambda: bool(feed._followed))
    wait_until(lambda: not feed._followed)


def wait_until(condition: Any, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
