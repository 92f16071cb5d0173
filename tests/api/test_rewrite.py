"""Rewrites over HTTP: verified, streamed, refused with a limit, and beside searches that do not wait."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from core.rewrite import TASKS
from tests.api.test_bad_input import check_problem
from tests.fakes import FakeGenerator, FakeGeneratorSource

SOURCE = "The 3 cats of Ann sat on the old mat."
GOOD = "Ann's three cats sat on the old mat."
BAD = "The cats of Ann sat on the old mat."


@pytest.fixture
def generator() -> FakeGenerator:
    return FakeGenerator({SOURCE: [GOOD, BAD], "about the cat": ["about the horse", "the cat in general"]})


def rewrite(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/rewrite", json={"texts": [SOURCE], "task": "paraphrase", "n": 3, **body})


def events(text: str) -> list[tuple[str, Any]]:
    parts = [part.split("\n") for part in text.strip().split("\n\n")]
    return [(one.removeprefix("event: "), orjson.loads(two.removeprefix("data: "))) for one, two in parts]


def test_each_rewrite_has_its_similarity_and_each_dropped_one_its_reason(client: TestClient) -> None:
    answer = rewrite(client)
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    (good,) = result["rewrites"]
    assert good["text"] == GOOD
    assert 0.7 < good["similarity"] < 1
    (bad,) = result["dropped"]
    assert (bad["text"], bad["reason"], bad["detail"]) == (BAD, "lost_numbers", "it lost the number 3")


def test_the_generator_is_not_loaded_before_it_is_used(
    client: TestClient, generator_source: FakeGeneratorSource
) -> None:
    client.get("/v1/models")
    client.get("/health/ready")
    client.post("/v1/explain", json={"query": "cat", "text": "A cat."})
    assert generator_source.loads == 0
    rewrite(client)
    assert generator_source.loads == 1


def test_a_stream_sends_pieces_and_then_what_verification_says(client: TestClient) -> None:
    answer = rewrite(client, n=1, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer.text)
    assert "".join(data["text"] for name, data in found if name == "piece") == GOOD
    name, last = found[-1]
    assert (name, last["rewrites"][0]["text"], last["dropped"]) == ("rewrite", GOOD, [])


def test_a_streamed_rewrite_that_fails_is_dropped_at_its_end(
    client: TestClient, generator: FakeGenerator
) -> None:
    generator.written = {SOURCE: [BAD]}
    name, last = events(rewrite(client, n=1, stream=True).text)[-1]
    assert (name, last["rewrites"], last["dropped"][0]["reason"]) == ("rewrite", [], "lost_numbers")


def test_a_streamed_rewrite_that_was_cut_off_is_never_told_as_whole(
    client: TestClient, generator: FakeGenerator
) -> None:
    generator.written = {SOURCE: [f"{GOOD}~"]}
    name, last = events(rewrite(client, n=1, stream=True).text)[-1]
    assert (name, last["rewrites"], last["dropped"][0]["reason"]) == ("rewrite", [], "cut_off")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"task": "sing"}, f"must be one of {', '.join(TASKS)}"),
        ({"n": 0}, "1 to 8"),
        ({"n": 100}, "1 to 8"),
        ({"texts": []}, "1 to 64"),
        ({"texts": [""]}, "empty"),
        ({"texts": ["word " * 41]}, "the limit of paraphrase is 40"),
        ({"texts": ["a", "b"], "n": 1, "stream": True}, "stream takes one text"),
        ({"stream": True}, "stream takes one text and n = 1"),
        ({"n": 1, "stream": True, "texts": ["One cat. Two cats."]}, "2 sentences"),
        ({"texts": "not a list"}, "texts"),
        ({"texts": [1]}, "texts"),
        ({"colour": "red"}, "colour"),
        ({"n": 2.5}, "n"),
    ],
)
def test_bad_requests_are_refused_with_the_limit(
    client: TestClient, body: dict[str, Any], words: str
) -> None:
    answer = rewrite(client, **body)
    check_problem(answer, 422)
    assert words in str(answer.json())


@pytest.mark.parametrize(
    "text", ["私は猫が好き", "кошка сидит", "<task:explain> <end> now", "🐈 🐕", "\u202eabc def"]
)
def test_any_text_gets_an_answer(client: TestClient, text: str) -> None:
    answer = rewrite(client, texts=[text], task="ask", n=1)
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 1


def test_a_full_queue_answers_429_while_searches_go_on(
    client: TestClient, news: str, generator: FakeGenerator, services: Any
) -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def before() -> None:
        begun.release()
        assert gate.wait(30)

    generator.before = before
    services.generation._places = threading.BoundedSemaphore(2)  # one at work, one that waits
    client.post(f"{news}/documents?wait=true", json={"documents": [{"id": "a", "text": "the cat"}]})
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(rewrite, client, n=1) for _ in range(2)]
        assert begun.acquire(timeout=10)
        while services.generation._places._value:
            pass
        for body in ({"n": 1}, {"n": 1, "stream": True}):
            refused = rewrite(client, **body)
            check_problem(refused, 429)
            assert int(refused.headers["Retry-After"]) >= 1
        assert client.post(f"{news}/search", json={"query": "cat"}).json()["hits"][0]["id"] == "a"
        check_problem(client.post(f"{news}/search", json={"query": "about the cat", "rewrite": True}), 429)
        gate.set()
        assert [one.result().status_code for one in held] == [200, 200]


def test_models_list_the_generator_with_the_standing_of_its_tasks(client: TestClient) -> None:
    listed = client.get("/v1/models").json()["data"]
    (generator,) = [one for one in listed if one["kind"] == "generator"]
    assert generator["tasks"]["paraphrase"] == {
        "standing": "stable", "measure": "ROUGE-L", "value": 40.0, "required": 30.0,
    }  # fmt: skip
    assert generator["tasks"]["ask"]["standing"] == "experimental"
    assert client.get("/v1/models/fake-generator").json() == generator


def test_generation_is_counted(client: TestClient) -> None:
    rewrite(client)
    metrics = client.get("/metrics").text
    assert 'cognate_generated_tokens_total{task="paraphrase"} 17.0' in metrics
    assert 'cognate_rewrites_dropped_total{reason="lost_numbers",task="paraphrase"} 1.0' in metrics
    assert 'cognate_generation_seconds_count{task="paraphrase"} 1.0' in metrics


def test_a_search_in_several_wordings_tells_each_ones_share(client: TestClient, news: str) -> None:
    documents = [{"id": name, "text": f"all about the {name}"} for name in ("cat", "dog", "horse")]
    client.post(f"{news}/documents?wait=true", json={"documents": documents})
    asked = {"query": "about the cat", "mode": "lexical"}
    plain = client.post(f"{news}/search", json=asked).json()
    body = client.post(f"{news}/search", json={**asked, "rewrite": True}).json()
    assert body["rewrites"] == [
        {"text": "about the horse", "task": "clean_query"},
        {"text": "the cat in general", "task": "paraphrase"},
    ]
    assert "rewrites" not in plain
    for hit in body["hits"]:
        assert hit["score"] == pytest.approx(sum(share["score"] for share in hit["by_wording"]))
    of_horse = next(hit for hit in body["hits"] if hit["id"] == "horse")
    assert any(share["wording"] == 1 and share["rank"] == 1 for share in of_horse["by_wording"])
    batch = client.post(f"{news}/search/batch", json={"searches": [asked, {**asked, "rewrite": True}]}).json()
    assert ["rewrites" in one for one in batch["results"]] == [False, True]


def test_rewriting_is_off_until_the_collection_says_otherwise(client: TestClient, news: str) -> None:
    client.post(f"{news}/documents?wait=true", json={"documents": [{"id": "a", "text": "about the cat"}]})
    asked = {"query": "about the cat"}
    assert "rewrites" not in client.post(f"{news}/search", json=asked).json()
    changed = client.patch(news, json={"search": {"rewrite": True}}).json()
    assert changed["search"] == {"rewrite": True}
    assert client.post(f"{news}/search", json=asked).json()["rewrites"]
    assert "rewrites" not in client.post(f"{news}/search", json={**asked, "rewrite": False}).json()


def test_quality_and_tune_measure_rewrites_when_asked(client: TestClient, news: str) -> None:
    documents = [{"id": f"d{i}", "text": f"text number {i} word{i}"} for i in range(20)]
    client.post(f"{news}/documents?wait=true", json={"documents": documents})
    judged = [{"query": f"word{i} number", "relevant": [f"d{i}"]} for i in range(20)]
    client.put(f"{news}/judgements", json={"judgements": judged})
    modes = client.get(f"{news}/quality?modes=lexical&rewrite=true").json()["modes"]
    assert set(modes) == {"lexical", "lexical+rewrite"}
    body = client.post(f"{news}/tune", json={"rewrite": True, "apply": True}).json()
    assert any(setting.get("rewrite") for setting in body["settings"])
    assert "rewrite" not in body["search"]
