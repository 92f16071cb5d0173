"""Names in paths of the client are names, whatever they look like."""

from __future__ import annotations

import httpx
import pytest

from cognate.client import Client, RequestFailed, pause_s
from core.errors import Unavailable


@pytest.mark.parametrize("name", ["../collections/c", "a/b", "..", "a?b", "a#b", "ä b", "a%2fb"])
def test_a_name_is_one_part_of_the_path(name: str) -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(404, json={"detail": "none"})

    client = Client("http://server")
    client._http = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    with pytest.raises(RequestFailed):
        client.delete_backup(name)
    (path,) = asked
    assert path.startswith(b"/v1/admin/backups/")
    assert path.count(b"/") == 4
    assert b"?" not in path


def test_many_jobs_are_followed_with_one_question_and_the_failed_ones_tell_their_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cognate.client.pause_s", lambda job: 0.0)  # the jobs of this test are never queued
    monkeypatch.setattr("cognate.client.POLL_ALL_S", 1000.0)
    names = [f"job-{i}" for i in range(50)]
    polls = 0
    asked: list[str] = []

    def state_of(name: str) -> str:
        if polls < 5:
            return "running"
        return "partial" if name == "job-7" else "succeeded"

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal polls
        asked.append(request.url.path)
        if request.url.path == "/v1/jobs":  # of many jobs the list holds the newest
            jobs = [{"id": name, "state": state_of(name), "errors": []} for name in names[1:]]
            return httpx.Response(200, json={"jobs": jobs})
        name = request.url.path.rpartition("/")[2]
        polls += name == names[-1]
        return httpx.Response(200, json={"id": name, "state": state_of(name), "errors": ["why"]})

    client = Client("http://server")
    client._http = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    shown: list[int] = []
    ended = client.follow(names, lambda jobs: shown.append(len(jobs)))
    assert [job["id"] for job in ended] == names
    assert {job["state"] for job in ended} == {"succeeded", "partial"}
    assert ended[7]["errors"] == ["why"]
    assert set(shown) == {50}
    # Twice all at once, each time with the one that the list left out; the failed one; and the last in turn.
    assert len(asked) == 2 * 2 + 1 + 5


def test_a_server_that_cannot_be_reached_is_told_with_the_reason() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("certificate verify failed" if request.url.path == "/v1/jobs" else "")

    client = Client("https://server")
    client._http = httpx.Client(base_url="https://server", transport=httpx.MockTransport(refuse))
    with pytest.raises(
        Unavailable, match=r"https://server \(ConnectError: certificate verify failed\)\. Start"
    ):
        client.jobs()
    with pytest.raises(Unavailable, match=r"\(ConnectError\)\. Start"):
        client.backups()


def test_following_goes_on_behind_a_restart_of_the_server_or_its_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = {"id": "a", "state": "running", "eta_s": 0.0}
    away = httpx.Response(503, json={"detail": "the database is away or restarting; retry"})
    turns = iter(
        [
            job,
            away,
            httpx.ConnectError("refused"),
            httpx.Response(502, text="proxy"),
            job,
            {**job, "state": "succeeded"},
        ]
    )
    slept: list[float] = []
    monkeypatch.setattr("cognate.client.time.sleep", slept.append)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/jobs":
            return httpx.Response(200, json={"jobs": []})
        turn = next(turns, {**job, "state": "succeeded"})
        if isinstance(turn, Exception):
            raise turn
        return turn if isinstance(turn, httpx.Response) else httpx.Response(200, json=turn)

    client = Client("http://server")
    client._http = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    (ended,) = client.follow(["a"], lambda jobs: None)
    assert ended["state"] == "succeeded"
    assert slept.count(1.0) == 3
    monkeypatch.setattr("cognate.client.LONGEST_OUTAGE_S", 0.0)
    turns = iter([away])
    with pytest.raises(Unavailable, match="the database is away"):
        client.follow(["a"], lambda jobs: None)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>It works!</html>"),
        httpx.Response(200, json=["a list"]),
        httpx.Response(502, json={"error": "of a proxy"}),
        httpx.Response(502, headers={"content-type": "application/json"}, content=b""),
    ],
)
def test_what_does_not_answer_as_cognate_does_is_told(answer: httpx.Response) -> None:
    client = Client("http://server")
    client._http = httpx.Client(base_url="http://server", transport=httpx.MockTransport(lambda _: answer))
    with pytest.raises((RequestFailed, Unavailable), match="not as Cognate does"):
        client.job("a")


@pytest.mark.parametrize(("eta_s", "expected"), [(None, 0.2), (100.0, 0.25), (0.3, 0.15), (0.0, 0.05)])
def test_a_job_is_asked_for_the_more_often_the_sooner_it_ends(eta_s: float | None, expected: float) -> None:
    assert pause_s({"eta_s": eta_s}) == expected
