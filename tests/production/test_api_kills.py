"""kill -9 of an API that takes documents for workers: what it answered is there, the rest whole or absent."""

from __future__ import annotations

import random
import threading

import pytest

from tests.end_to_end.feeding import Feeder
from tests.production.conftest import Standing
from tests.production.processes import wait_until
from tests.production.traffic import all_documents, check_searchable, count, create, is_applied
from tests.production.truth import stored_vectors

pytestmark = pytest.mark.integration

KILLS = 4
SIZE = 40


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
