"""Two APIs and two workers are sent the same ids at once: what was committed last holds everywhere."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.production.conftest import Standing
from tests.production.processes import Api
from tests.production.traffic import all_documents, count, create, index_of, is_applied, post
from tests.production.truth import assert_same_vectors, stored_vectors
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

NAME = "contested"
IDS = [f"id-{i}" for i in range(40)]
TURNS = 25
WORDS = ["river", "engine", "violin", "harvest", "planet", "lawyer", "bread", "winter", "magnet", "novel"]
QUERIES = [*WORDS, "a writer of novels about winter", "bread and harvest", "turn 20"]


def text_of(id_: str, writer: str, turn: int) -> str:
    word = WORDS[sum(map(ord, f"{id_}{writer}{turn}")) % len(WORDS)]
    return f"The {word} of {id_} by {writer} in turn {turn}."


def delete(http: httpx.Client, ids: list[str]) -> None:
    http.post(f"/v1/collections/{NAME}/documents/delete", json={"ids": ids}).raise_for_status()


def write(http: httpx.Client, writer: str) -> None:
    """Sends and deletes some of the ids that all the others send and delete too."""
    rng = random.Random(writer)
    for turn in range(TURNS):
        ids = rng.sample(IDS, 8)
        if rng.random() < 0.3:
            delete(http, ids)
        else:
            post(http, [{"id": id_, "text": text_of(id_, writer, turn)} for id_ in ids], NAME)


def answers(http: httpx.Client, query: str) -> dict[str, float]:
    """Id -> score of every document there is."""
    body = {"query": query, "k": 100, "mode": "dense"}
    hits = http.post(f"/v1/collections/{NAME}/search", json=body).raise_for_status().json()["hits"]
    assert len({hit["id"] for hit in hits}) == len(hits)
    return {hit["id"]: hit["score"] for hit in hits}


def scores_of_the_database(standing: Standing, query: str) -> dict[str, float]:
    """By brute force over the stored vectors."""
    http = standing.first.http
    model = http.get("/version").json()["encoder"]["id"]
    answer = http.post("/v1/embeddings", json={"model": model, "input": query}).raise_for_status().json()
    vector = np.array(answer["data"][0]["embedding"], dtype=np.float32)
    return {id_: float(v @ vector) for (id_, _), v in stored_vectors(standing.deployment, NAME).items()}


def test_contested_ids_end_the_same_on_every_replica_and_in_the_database(standing: Standing) -> None:
    apis = (standing.first, standing.second)
    create(standing.first.http, NAME)
    with ThreadPoolExecutor(4) as pool:
        threads = [
            pool.submit(write, api.http, f"{api.name} {number}") for api in apis for number in range(2)
        ]
        for thread in threads:
            thread.result(timeout=200)
    final = end_in_a_known_order(standing)
    wait_until(lambda: count(standing.first.http, NAME)["pending"] == 0, "nothing is pending")
    for api in apis:
        wait_until(lambda api=api: is_applied(api.http, NAME), f"{api.name} has it all")  # type: ignore[misc]
    documents = all_documents(standing.first.http, NAME)
    assert {id_: documents.get(id_) for id_ in final} == final
    check_documents(standing, documents)
    check_replicas(standing, apis, set(documents))


def end_in_a_known_order(standing: Standing) -> dict[str, str | None]:
    """Answered here before it is sent there, while workers are busy with what came before; None = deleted."""
    first, second = standing.first.http, standing.second.http
    texts = {id_: text_of(id_, "the last", TURNS) for id_ in IDS[:20]}
    delete(first, IDS[:5])
    post(second, [{"id": id_, "text": f"{text} Not yet."} for id_, text in texts.items()], NAME)
    post(first, [{"id": id_, "text": text} for id_, text in texts.items()], NAME)
    delete(second, IDS[15:25])
    return {id_: texts.get(id_) for id_ in IDS[:15]} | dict.fromkeys(IDS[15:25])


def check_documents(standing: Standing, documents: dict[str, str]) -> None:
    """Each is whole, of one writer, and its vector is that of the text it has now."""
    pattern = re.compile(r"The \w+ of (\S+) by .+ in turn \d+\.")
    for id_, text in documents.items():
        found = pattern.fullmatch(text)
        assert found is not None
        assert found[1] == id_
    http = standing.first.http
    create(http, "uncontested")
    post(http, [{"id": id_, "text": text} for id_, text in documents.items()], "uncontested")
    wait_until(lambda: count(http, "uncontested")["searchable"] == len(documents), "the clean run is through")
    clean = stored_vectors(standing.deployment, "uncontested")
    assert_same_vectors(stored_vectors(standing.deployment, NAME), clean)


def check_replicas(standing: Standing, apis: tuple[Api, Api], ids: set[str]) -> None:
    first, second = (api.http for api in apis)
    assert count(first, NAME) == count(second, NAME)
    assert count(first, NAME) == {"total": len(ids), "searchable": len(ids), "pending": 0, "failed": 0}
    assert index_of(first, NAME)["applied_seq"] == index_of(second, NAME)["applied_seq"]
    for query in QUERIES:
        found, other = answers(first, query), answers(second, query)
        expected = scores_of_the_database(standing, query)
        assert found.keys() == other.keys() == expected.keys() == ids
        for id_, score in expected.items():
            assert found[id_] == pytest.approx(score, abs=2e-3)
            assert other[id_] == pytest.approx(found[id_], abs=1e-4)
