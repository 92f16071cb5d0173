"""kill -9 of an API that takes documents for workers: what it answered is there, the rest whole or absent."""

from __future__ import annotations

import random
import threading
import time

import httpx
import pytest

from tests.end_to_end.feeding import Feeder
from tests.production.conftest import Standing
from tests.production.traffic import all_documents, check_searchable, count, create, is_applied
from tests.production.truth import stored_vectors
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

KILLS = 4
SIZE = 40
ROWS = 300


def test_killed_while_it_takes_documents_an_api_keeps_its_word(standing: Standing) -> None:
    rng, deployment = random.Random(7), standing.deployment
    mortal, feeder = deployment.api("mortal"), Feeder(SIZE, "fed")
    create(standing.first.http, "fed")
    with deployment.running(mortal):
        for _ in range(KILLS):
            before = len(feeder.accepted)
            thread = threading.Thread(target=feeder.feed, args=(mortal.http,))
            thread.start()
            wait_until(lambda before=before: len(feeder.accepted) > before, "it takes documents")  # type: ignore[misc]
            thread.join(rng.uniform(0.0, 0.3))
            assert thread.is_alive(), "it must die while it is asked"
            mortal.kill()
            thread.join(60)
            assert not thread.is_alive()
            mortal.start()
        assert len(feeder.unanswered) == KILLS, "each kill left one call without an answer"
        wait_until(lambda: count(mortal.http, "fed")["pending"] == 0, "nothing is pending")
        found = all_documents(mortal.http, "fed")
        feeder.check(found)
        everything = {"total": len(found), "searchable": len(found), "pending": 0, "failed": 0}
        assert len(stored_vectors(deployment, "fed")) == len(found), "each text is one passage, stored once"
        for api in (mortal, standing.second):
            assert count(api.http, "fed") == everything
            wait_until(lambda api=api: is_applied(api.http, "fed"), f"{api.name} serves it all")  # type: ignore[misc]
            for number in feeder.accepted[:: max(1, len(feeder.accepted) // 5)]:
                check_searchable(api.http, feeder.batch(number)[:2], "fed")


def test_killed_around_the_answer_to_an_import_an_api_leaves_it_whole_or_absent(standing: Standing) -> None:
    """The workers go on reading the file of an API that is dead, and bring each row once."""
    deployment, http = standing.deployment, standing.second.http
    uploads = str(deployment.folder / "api" / "uploads")  # where the workers look
    mortal = deployment.api("importing", upload_url=uploads)
    names = [f"imported-{number}" for number in range(KILLS + 1)]
    content = "id,text\n" + "".join(f"{i},Row {i} tells of topic {i}.\n" for i in range(ROWS))
    answered: list[str] = []
    for name in names:
        create(http, name)
    with deployment.running(mortal):
        started = time.monotonic()
        _import(mortal.http, names[0], content, answered)
        took_s = time.monotonic() - started
        assert answered == names[:1]
        for number, name in enumerate(names[1:], start=1):
            thread = threading.Thread(target=_import, args=(mortal.http, name, content, answered))
            thread.start()
            thread.join(took_s * number / (KILLS - 1))  # from before it is read until after its answer
            mortal.kill()
            thread.join(60)
            if number < KILLS:
                mortal.start()
    for name in names:  # asked of the other API: the one that took them is dead
        wait_until(lambda name=name: _is_settled(http, name), f"{name} is read")  # type: ignore[misc]
        counts = count(http, name)
        assert counts["searchable"] == counts["total"]
        assert counts["total"] in ((ROWS,) if name in answered else (0, ROWS)), name
        assert len(all_documents(http, name)) == counts["total"]


def _import(http: httpx.Client, name: str, content: str, answered: list[str]) -> None:
    try:
        answer = http.post(f"/v1/collections/{name}/import", files={"file": ("rows.csv", content)})
    except (httpx.TransportError, RuntimeError):  # the API, or this side, was closed
        return
    if answer.status_code == 202:
        answered.append(name)


def _is_settled(http: httpx.Client, name: str) -> bool:
    jobs = [job for job in http.get("/v1/jobs").json()["jobs"] if job["collection"] == name]
    return all(job["finished_at"] for job in jobs)
