"""Postgres restarts under load: requests succeed or say when to come again, and all goes on by itself."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from tests.end_to_end.feeding import Feeder
from tests.postgres import PostgresServer
from tests.production.conftest import Standing
from tests.production.processes import Api
from tests.production.traffic import all_documents, count, create, is_applied, search
from tests.production.truth import running_batches, stored_vectors
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

NAME = "restarted"
PAUSE_S = 0.03  # what is accepted must be worked off afterwards
OUTCOMES = ("posted", "searched")


class Load:
    """One thread posts to an API and another searches it; an unclear answer ends them with it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.feeder = Feeder(5, NAME, f"{api.name}/")
        self.stopping = threading.Event()
        self.well, self.refused = Counter[str](), Counter[str]()

    def post(self) -> None:
        while not self.stopping.wait(PAUSE_S):
            self._note("posted", self.feeder.send(self.api.http), 202)

    def search(self) -> None:
        url, body = f"/v1/collections/{NAME}/search", {"query": "Document that tells of topic 3."}
        while not self.stopping.wait(PAUSE_S):
            self._note("searched", self.api.http.post(url, json=body), 200)

    def _note(self, what: str, answer: httpx.Response, good: int) -> None:
        if answer.status_code == good:
            self.well[what] += 1
            return
        assert answer.status_code in (429, 503), answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"].endswith("retry"), answer.text
        self.refused[what] += 1


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_requests_fail_clearly_or_succeed_and_all_recover_by_themselves(
    standing: Standing, postgres: PostgresServer, mode: str
) -> None:
    """`fast` is an operator's restart, `immediate` a crash."""
    apis = (standing.first, standing.second)
    create(standing.first.http, NAME)
    loads, backlog = [Load(api) for api in apis], Feeder(200, NAME, "backlog/")
    with ThreadPoolExecutor(2 * len(loads)) as pool:
        threads = [pool.submit(work) for load in loads for work in (load.post, load.search)]
        try:
            await_more([load.well for load in loads], "answers")
            began = datetime.now(UTC)
            for _ in range(4):
                assert backlog.send(standing.first.http).status_code == 202
            wait_until(lambda: running_batches(standing.deployment, began) > 0, "batches run")
            postgres.stop(mode)
            try:
                await_more([load.refused for load in loads], "refusals")
                assert all(api.http.get("/health/ready").status_code == 503 for api in apis)
            finally:
                postgres.start()
            await_more([load.well for load in loads], "answers after the restart")
        finally:
            for load in loads:
                load.stopping.set()
            for thread in threads:
                thread.result(timeout=120)
    assert all(process.is_running for process in (*apis, *standing.others)), "nothing was started again"
    check(standing, loads, backlog)
    standing.first.http.delete(f"/v1/collections/{NAME}").raise_for_status()


def await_more(counters: list[Counter[str]], what: str) -> None:
    """Until each has counted two more of both kinds: one more may have been under way."""
    goals = [{outcome: counter[outcome] + 2 for outcome in OUTCOMES} for counter in counters]
    wait_until(
        lambda: all(
            counter[outcome] >= goal[outcome]
            for counter, goal in zip(counters, goals, strict=True)
            for outcome in OUTCOMES
        ),
        what,
    )


def check(standing: Standing, loads: list[Load], backlog: Feeder) -> None:
    http = standing.first.http
    wait_until(lambda: count(http, NAME)["pending"] == 0, "nothing is pending")
    found = all_documents(http, NAME)
    for feeder in (backlog, *(load.feeder for load in loads)):
        feeder.check(found)
    everything = {"total": len(found), "searchable": len(found), "pending": 0, "failed": 0}
    assert len(stored_vectors(standing.deployment, NAME)) == len(found), "each text is one passage"
    for load in loads:
        http = load.api.http
        assert count(http, NAME) == everything
        wait_until(lambda http=http: is_applied(http, NAME), f"{load.api.name} serves it all")  # type: ignore[misc]
        for one in loads:
            newest = one.feeder.batch(one.feeder.accepted[-1])[0]
            assert search(http, newest["text"], NAME).count(newest["id"]) == 1
