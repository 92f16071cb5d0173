"""Judgements, quality and search defaults over HTTP, on a real index and database."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from core.judgements import JudgementLimits
from core.search_request import MODES
from tests.api.test_bad_input import check_problem

JUDGEMENTS = "/v1/collections/news/judgements"
QUALITY = "/v1/collections/news/quality"
TUNE = "/v1/collections/news/tune"
ANIMALS = ("cat", "dog", "horse", "cow", "sheep")


@pytest.fixture
def animals(client: TestClient, news: str) -> str:
    """One document an animal."""
    documents = [{"id": name, "text": f"all about the {name}"} for name in ANIMALS]
    answer = client.post(f"{news}/documents?wait=true", json={"documents": documents})
    assert answer.json()["job"]["done"] == len(ANIMALS)
    return news


def judged(*relevant: Any, query: str = "cat") -> dict[str, Any]:
    return {"judgements": [{"query": query, "relevant": list(relevant)}]}


def test_judgements_are_replaced_read_page_by_page_and_removed(client: TestClient, animals: str) -> None:
    first = client.put(JUDGEMENTS, json=judged("old"))
    assert first.json() == {
        "queries": 1, "judgements": 1, "measurable": 0,
        "not_found": {"documents": 1, "examples": ["old"]},
    }  # fmt: skip
    sent = [
        {"query": f"about {name}", "relevant": [name, {"id": "no such", "relevance": 3}]} for name in ANIMALS
    ]
    counts = client.put(JUDGEMENTS, json={"judgements": sent}).json()
    assert (counts["queries"], counts["judgements"], counts["measurable"]) == (5, 10, 5)
    assert counts["not_found"] == {"documents": 1, "examples": ["no such"]}
    page = client.get(f"{JUDGEMENTS}?limit=3").json()
    rest = client.get(f"{JUDGEMENTS}?limit=3&after={page['next']}").json()
    items = page["items"] + rest["items"]
    assert [item["query"] for item in items] == [query["query"] for query in sent]
    assert items[0]["relevant"] == [{"id": "cat", "relevance": 1}, {"id": "no such", "relevance": 3}]
    assert rest["next"] is None
    assert client.delete(JUDGEMENTS).json() == {"deleted": 5}
    assert client.get(JUDGEMENTS).json()["queries"] == 0


def test_quality_is_measured_on_what_searches_find(client: TestClient, animals: str) -> None:
    wanted = [{"query": f"the {name}", "relevant": [name]} for name in ANIMALS]
    missed = {"query": "the cat and the cow", "relevant": ["sheep"]}
    lost = {"query": "unicorn", "relevant": ["unicorn"]}
    client.put(JUDGEMENTS, json={"judgements": [*wanted, missed, lost]})
    body = client.get(f"{QUALITY}?modes=dense&k=1&worst=1").json()
    assert body["queries"] == {"judged": 7, "measurable": 6, "without_relevant": 1, "measured": 6}
    assert (body["best"], body["sample"], body["k"], set(body["modes"])) == ("dense", None, 1, {"dense"})
    dense = body["modes"]["dense"]
    assert dense["nDCG@1"] == dense["MRR@1"] == pytest.approx(5 / 6)
    assert dense["recall@100"] == 1.0
    (worst,) = dense["worst"]
    assert (worst["query"], worst["value"], worst["relevant"]) == (missed["query"], 0.0, ["sheep"])
    assert worst["found"][0] in ("cat", "cow")
    assert body["seq"] == client.get(animals).json()["index"]["seq"]
    assert body["settings"]["encoder"] == "fake"


def test_a_sample_is_measured_when_fewer_queries_are_asked_for(client: TestClient, animals: str) -> None:
    wanted = [{"query": f"the {name}", "relevant": [name]} for name in ANIMALS]
    client.put(JUDGEMENTS, json={"judgements": wanted})
    body = client.get(f"{QUALITY}?queries=2&seed=3").json()
    assert (body["queries"]["measured"], body["sample"]) == (2, {"seed": 3})
    assert set(body["modes"]) == set(MODES)


def test_a_deleted_document_is_neither_relevant_nor_missed(client: TestClient, animals: str) -> None:
    client.put(JUDGEMENTS, json=judged("cat", "dog", query="the cat"))
    assert client.get(f"{QUALITY}?modes=dense&k=1").json()["modes"]["dense"]["recall@1"] == 0.5
    client.delete(f"{animals}/documents/dog")
    assert client.get(f"{QUALITY}?modes=dense&k=1").json()["modes"]["dense"]["recall@1"] == 1.0
    assert client.get(JUDGEMENTS).json()["not_found"]["examples"] == ["dog"]


def test_judgements_go_with_their_collection(client: TestClient, animals: str) -> None:
    client.put(JUDGEMENTS, json=judged("cat"))
    client.delete(animals)
    check_problem(client.get(JUDGEMENTS), 404)
    client.put(animals, json={})
    assert client.get(JUDGEMENTS).json()["items"] == []


def test_search_defaults_are_stored_shown_and_taken_back(client: TestClient, news: str) -> None:
    assert client.get(news).json()["search"] == {}
    search = {"mode": "dense", "fusion": {"method": "convex", "dense_weight": 1}, "rerank": False}
    changed = client.patch(news, json={"description": "all of it", "search": search})
    assert changed.status_code == 200
    body = client.get(news).json()
    assert (body["search"], body["description"]) == (search, "all of it")
    assert changed.json() == body
    assert client.patch(news, json={}).json() == body
    assert client.patch(news, json={"search": {"fusion": {"dense_weight": 0.0}}}).json()["search"] == {
        "fusion": {"dense_weight": 0.0}
    }
    assert client.patch(news, json={"search": None}).json()["search"] == {}
    assert client.get(news).json()["description"] == "all of it"
    assert client.put(news, json={}).status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"search": {"mode": "sparse"}}, ("search.mode is 'sparse'", "dense")),
        ({"search": {"mode": ""}}, ("search.mode is ''",)),
        ({"search": {"mode": 3}}, ("search.mode",)),
        ({"search": {"fusion": {"method": "average"}}}, ("search.fusion.method", "convex", "rrf")),
        ({"search": {"fusion": {"dense_weight": 1.5}}}, ("1.5", "0 to 1")),
        ({"search": {"fusion": {"dense_weight": -0.1}}}, ("-0.1",)),
        ({"search": {"fusion": {"dense_weight": True}}}, ("search.fusion.dense_weight",)),
        ({"search": {"fusion": {"dense_weight": "0.5"}}}, ("search.fusion.dense_weight",)),
        ({"search": {"fusion": {"weight": 0.5}}}, ("weight: is not a known field",)),
        ({"search": {"fusion": "rrf"}}, ("search.fusion",)),
        ({"search": {"rerank": "yes"}}, ("search.rerank",)),
        ({"search": []}, ("search",)),
        ({"description": None, "language": "de"}, ("language",)),
        ({"description": "x" * 2001}, ("description",)),
        ([], ("body",)),
    ],
)
def test_a_bad_change_is_a_422_and_changes_nothing(
    client: TestClient, news: str, body: object, words: tuple[str, ...]
) -> None:
    before = client.get(news).json()
    check_problem(client.patch(news, json=body), 422, *words)
    assert client.get(news).json() == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"judgements": []}, ("'judgements' is empty", "DELETE")),
        ({}, ("judgements",)),
        ({"judgements": {}}, ("judgements",)),
        ([], ("body",)),
        (judged(), ("judgements.0", "names 0 documents", "1 to 1,000")),
        (judged("a", query=""), ("'query' is empty",)),
        (judged("a", query=" \n\t"), ("'query' is empty",)),
        (judged("a", query="x\x00"), ("NUL",)),
        (judged("a", query="x" * 32_769), ("32,769 bytes", "32,768")),
        (judged("a", query="é" * 16_385), ("32,770 bytes",)),
        (judged(""), ("0 bytes", "1 to 512")),
        (judged("x" * 513), ("513 bytes",)),
        (judged("a\x00"), ("NUL",)),
        (judged("a", "a"), ("'a' occurs twice",)),
        (judged("a", {"id": "a", "relevance": 2}), ("'a' occurs twice",)),
        (judged({"id": "a", "relevance": 0}), ("every relevance is 0",)),
        (judged({"id": "a", "relevance": -1}), ("is -1", "0 (judged not relevant) to 100")),
        (judged({"id": "a", "relevance": 101}), ("is 101",)),
        (judged({"id": "a", "relevance": 10**30}), ("judgements.0",)),
        (judged({"id": "a", "relevance": 1.5}), ("relevance",)),
        (judged({"id": "a", "relevance": True}), ("relevance",)),
        (judged({"id": "a", "relevance": "1"}), ("relevance",)),
        (judged({"id": "a", "grade": 1}), ("grade",)),
        (judged({"relevance": 1}), ("id",)),
        (judged(3), ("judgements.0.relevant",)),
        (judged(None), ("judgements.0.relevant",)),
        ({"judgements": [{"query": "q", "relevant": "a"}]}, ("relevant",)),
        ({"judgements": [{"query": "q"}]}, ("relevant",)),
        ({"judgements": [{"query": "q", "relevant": ["a"], "k": 3}]}, ("k: is not a known field",)),
        ({"judgements": judged("a")["judgements"] * 2}, ("judgements.1", "'cat' occurs twice")),
        (judged(*(f"d{i}" for i in range(1_001))), ("1,001 documents",)),
    ],
)
def test_bad_judgements_are_a_422_and_the_old_ones_stay(
    client: TestClient, news: str, body: object, words: tuple[str, ...]
) -> None:
    client.put(JUDGEMENTS, json=judged("kept"))
    check_problem(client.put(JUDGEMENTS, json=body), 422, *words)
    assert client.get(JUDGEMENTS).json()["items"][0]["relevant"] == [{"id": "kept", "relevance": 1}]


def test_a_lone_surrogate_in_a_query_or_id_is_a_422(client: TestClient, news: str) -> None:
    for content in (
        r'{"judgements": [{"query": "\ud800", "relevant": ["a"]}]}',
        r'{"judgements": [{"query": "q", "relevant": ["\ud800"]}]}',
    ):
        answer = client.put(JUDGEMENTS, content=content, headers={"Content-Type": "application/json"})
        check_problem(answer, 422, "surrogate")


def test_every_bad_query_is_named_but_not_more_than_a_hundred(client: TestClient, news: str) -> None:
    sent = [{"query": f"q{i}", "relevant": ["a"] if i % 2 else []} for i in range(500)]
    answer = client.put(JUDGEMENTS, json={"judgements": sent})
    check_problem(answer, 422, "250 of 500")
    errors = answer.json()["errors"]
    assert [error["field"] for error in errors[:2]] == ["judgements.0", "judgements.2"]
    assert len(errors) == 100


def test_too_many_judgements_are_a_413_that_names_the_limit(client: TestClient, news: str) -> None:
    limits = JudgementLimits()
    queries = [{"query": str(i), "relevant": ["a"]} for i in range(limits.max_queries + 1)]
    check_problem(client.put(JUDGEMENTS, json={"judgements": queries}), 413, "10,001", "10,000")
    many = [{"query": str(i), "relevant": [f"d{j}" for j in range(990)]} for i in range(102)]
    check_problem(client.put(JUDGEMENTS, json={"judgements": many}), 413, "100,980", "100,000")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("modes=sparse", ("mode 'sparse' is not available",)),
        ("modes=dense,", ("mode '' is not available",)),
        ("modes=%00", ("is not available",)),
        ("k=0", ("k is 0",)),
        ("k=101", ("1 to 100",)),
        ("k=x", ("k",)),
        ("k=1.5", ("k",)),
        (f"k={10**30}", ("k",)),
        ("queries=0", ("queries is 0",)),
        ("queries=1001", ("1 to 1,000",)),
        ("seed=-1", ("seed",)),
        (f"seed={2**32}", ("seed",)),
        ("worst=-1", ("worst is -1",)),
        ("mode=dense", ("'mode'", "modes")),
    ],
)
def test_a_bad_question_about_quality_is_a_422(
    client: TestClient, animals: str, query: str, words: tuple[str, ...]
) -> None:
    client.put(JUDGEMENTS, json=judged("cat"))
    check_problem(client.get(f"{QUALITY}?{query}"), 422, *words)


@pytest.mark.parametrize(
    "body", [{"folds": 1}, {"folds": 11}, {"folds": "5"}, {"seed": -1}, {"apply": "yes"}, {"aply": True}, []]
)
def test_bad_tuning_is_a_422(client: TestClient, animals: str, body: object) -> None:
    check_problem(client.post(TUNE, json=body), 422)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=-1", f"after={2**63}", "after=x", "page=2"]
)
def test_a_bad_page_of_judgements_is_a_422(client: TestClient, news: str, query: str) -> None:
    check_problem(client.get(f"{JUDGEMENTS}?{query}"), 422)


def test_nothing_to_measure_is_a_409_that_says_what_to_send(client: TestClient, animals: str) -> None:
    check_problem(client.get(QUALITY), 409, "0 judged queries", "PUT /v1/collections/news/judgements")
    client.put(JUDGEMENTS, json=judged("unicorn"))
    check_problem(client.get(QUALITY), 409, "1 judged queries", "1 judged documents are not")


def test_an_unknown_collection_is_a_404(client: TestClient) -> None:
    none = "/v1/collections/none"
    for answer in (
        client.get(f"{none}/judgements"),
        client.put(f"{none}/judgements", json=judged("a")),
        client.delete(f"{none}/judgements"),
        client.get(f"{none}/quality"),
        client.patch(none, json={}),
    ):
        check_problem(answer, 404, "none")
