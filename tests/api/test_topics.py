"""Topics over HTTP, on a real index and database."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from cognate.server import make_app
from cognate.settings import Settings
from core.generation_types import FinishReason, Generated, VectorReaderInfo
from core.services import Services
from core.topic_memory import TopicMemory
from core.topic_types import TopicRequest
from core.types import Float32
from tests.api.test_bad_input import check_problem
from tests.fakes import FAKE_INFO, word_vector

TOPICS = "/v1/collections/news/topics"
THEMES = {
    "sea": ("ship", "harbour", "sailor", "anchor", "captain", "wave"),
    "kitchen": ("oven", "recipe", "flour", "butter", "baking", "sugar"),
    "music": ("violin", "orchestra", "melody", "concert", "piano", "singer"),
}
SIZES = {"sea": 40, "kitchen": 30, "music": 20}


def documents() -> list[dict[str, Any]]:
    """Each holds words of its theme among words that all themes share."""
    draw = random.Random(5)
    found = []
    for theme, words in THEMES.items():
        for number in range(SIZES[theme]):
            told = " and the ".join(draw.sample(words, 4))
            found.append(
                {"id": f"{theme}-{number}", "title": "A story", "text": f"They had the {told} today."}
            )
    draw.shuffle(found)
    return found


@pytest.fixture
def stories(client: TestClient, news: str) -> str:
    answer = client.post(f"{news}/documents?wait=true", json={"documents": documents()})
    assert answer.json()["job"]["done"] == sum(SIZES.values())
    return news


def theme_of(document_id: str) -> str:
    return document_id.partition("-")[0]


def test_three_themes_are_three_topics_told_by_their_own_words(client: TestClient, stories: str) -> None:
    body = client.get(TOPICS, params={"points": 90}).json()
    assert [topic["size"] for topic in body["topics"]] == list(SIZES.values())
    assert body["documents"] == body["documents_read"] == sum(SIZES.values())
    for topic, (theme, words) in zip(body["topics"], THEMES.items(), strict=True):
        best = [term["text"] for term in topic["terms"][:6]]
        assert set(best) == set(words)
        assert (topic["name"], topic["name_kind"]) == (", ".join(best[:3]), "terms")
        assert [theme_of(document["id"]) for document in topic["documents"]] == [theme] * 3
        assert topic["documents"][0]["text"].startswith("They had the ")
    assert len(body["points"]) == 90
    assert all(list(THEMES)[point["topic"]] == theme_of(point["id"]) for point in body["points"])


def test_themes_lie_apart_on_the_map(client: TestClient, stories: str) -> None:
    body = client.get(TOPICS, params={"points": 90}).json()
    centres = [(topic["x"], topic["y"]) for topic in body["topics"]]
    for point in body["points"]:
        assert -1 <= point["x"] <= 1
        assert -1 <= point["y"] <= 1
        away = [(point["x"] - x) ** 2 + (point["y"] - y) ** 2 for x, y in centres]
        assert away.index(min(away)) == point["topic"]


def test_the_same_state_gives_the_same_topics(services: Services, stories: str) -> None:
    first, again = (
        replace(services.topics, memory=TopicMemory()).topics("news", TopicRequest(k=7)) for _ in range(2)
    )
    assert first is not again
    assert first == again


def test_changed_documents_give_new_topics(client: TestClient, stories: str) -> None:
    first = client.get(TOPICS, params={"k": 7}).json()
    client.delete(f"{stories}/documents/sea-0")
    sent = {
        "documents": [{"id": "x", "text": "They had the ship"}, {"id": "y", "text": "They had the piano"}]
    }
    assert client.post(f"{stories}/documents?wait=true", json=sent).status_code == 200
    newer = client.get(TOPICS, params={"k": 7}).json()
    assert newer["seq"] == client.get(stories).json()["index"]["applied_seq"] > first["seq"]
    assert newer["documents"] == sum(topic["size"] for topic in newer["topics"]) == first["documents"] + 1


@pytest.mark.parametrize("k", [1, 2, 7, 100])
def test_sizes_add_up_to_all_documents(client: TestClient, stories: str, k: int) -> None:
    body = client.get(TOPICS, params={"k": k, "points": 0}).json()
    sizes = [topic["size"] for topic in body["topics"]]
    assert sum(sizes) == body["documents"] == sum(SIZES.values())
    assert sizes == sorted(sizes, reverse=True)
    assert 1 <= len(sizes) <= k
    assert min(sizes) >= 1
    assert body["points"] == []


def test_an_empty_collection_has_no_topics(client: TestClient, news: str) -> None:
    body = client.get(TOPICS).json()
    assert (body["documents"], body["topics"], body["points"]) == (0, [], [])


def test_one_document_is_one_topic(client: TestClient, news: str) -> None:
    client.post(f"{news}/documents?wait=true", json={"documents": [{"id": "1", "text": "The quiet harbour"}]})
    (topic,) = client.get(TOPICS).json()["topics"]
    assert (topic["size"], topic["name"]) == (1, "harbour, quiet")
    assert topic["documents"][0]["id"] == "1"


def test_documents_that_are_all_alike_are_one_topic(client: TestClient, news: str) -> None:
    same = [{"id": str(number), "text": "The quiet harbour"} for number in range(40)]
    client.post(f"{news}/documents?wait=true", json={"documents": same})
    (topic,) = client.get(TOPICS, params={"k": 5}).json()["topics"]
    assert (topic["size"], topic["similarity"]) == (40, pytest.approx(1, abs=1e-3))


def test_documents_without_words_have_a_topic_without_terms(client: TestClient, news: str) -> None:
    client.post(f"{news}/documents?wait=true", json={"documents": [{"id": "1", "text": "12 : 7 !"}]})
    (topic,) = client.get(TOPICS).json()["topics"]
    assert (topic["name"], topic["terms"]) == ("(no words)", [])


def test_words_of_a_script_without_spaces_are_pairs_of_characters(client: TestClient, news: str) -> None:
    client.post(f"{news}/documents?wait=true", json={"documents": [{"id": "1", "text": "图书馆"}]})
    (topic,) = client.get(TOPICS).json()["topics"]
    assert {term["text"] for term in topic["terms"]} == {"图书", "书馆"}


def test_the_longest_passages_count_no_more_than_others(client: TestClient, news: str) -> None:
    """A document is one vector, however many passages it has."""
    long = " ".join(["The ship came into the harbour with its captain."] * 300)
    sent = [{"id": "long", "text": long}, {"id": "short", "text": "Butter and flour for the oven"}]
    client.post(f"{news}/documents?wait=true", json={"documents": sent})
    body = client.get(TOPICS, params={"k": 2}).json()
    assert client.get(news).json()["passages"] > 2
    assert [topic["size"] for topic in body["topics"]] == [1, 1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"k": 0}, "1 to 100"),
        ({"k": 101}, "1 to 100"),
        ({"terms": 0}, "terms is 0"),
        ({"terms": 31}, "1 to 30"),
        ({"documents": -1}, "documents is -1"),
        ({"documents": 21}, "0 to 20"),
        ({"points": 2001}, "0 to 2,000"),
        ({"k": "many"}, "k"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_limit(
    client: TestClient, stories: str, asked: dict[str, Any], said: str
) -> None:
    answer = client.get(TOPICS, params=asked)
    check_problem(answer, 422)
    assert said in answer.text


def test_topics_of_an_unknown_collection_are_not_found(client: TestClient) -> None:
    check_problem(client.get("/v1/collections/nothing/topics"), 404)


class ReaderOfWords:
    """Writes a story with the words of the theme that a fake vector is nearest to."""

    info = VectorReaderInfo("words", "a" * 64, FAKE_INFO.fingerprint, 16, 3.5, 5.0, 0.4)

    def read(self, vectors: Float32, max_new_tokens: int) -> list[Generated]:
        return [
            Generated(f"They had the {text} today.", -0.5, FinishReason.STOP, 4)
            for text in map(self._words, vectors)
        ]

    def _words(self, vector: Float32) -> str:
        near = {theme: [vector @ word_vector(word) for word in words] for theme, words in THEMES.items()}
        theme = max(near, key=lambda theme: float(np.median(near[theme])))  # some words share a dimension
        return " and the ".join(THEMES[theme][i] for i in np.argsort(near[theme])[-4:])


@pytest.fixture
def reading(services: Services, settings: Settings) -> Iterator[TestClient]:
    """A client of a server that has a vector reader."""
    namer = replace(services.topics.namer, reader=ReaderOfWords(), least_similarity=0.3)
    topics = replace(services.topics, namer=namer, memory=TopicMemory())
    with TestClient(make_app(replace(services, topics=topics), settings), "http://127.0.0.1") as client:
        yield client


def test_a_name_that_is_read_from_the_vector_says_so(reading: TestClient, stories: str) -> None:
    body = reading.get(TOPICS).json()
    for topic, words in zip(body["topics"], THEMES.values(), strict=True):
        assert topic["name_kind"] == "generated"
        told = topic["name"].removeprefix("They had the ").removesuffix(" today.").split(" and the ")
        assert len(set(told) & set(words)) == 4
        assert topic["name_similarity"] >= 0.3


def test_the_reader_is_listed_as_an_experimental_model(reading: TestClient, client: TestClient) -> None:
    (model,) = (one for one in reading.get("/v1/models").json()["data"] if one["kind"] == "vector-reader")
    assert (model["id"], model["standing"], model["held_out_loss"]) == ("words", "experimental", 3.5)
    assert reading.get("/v1/models/words").json() == model
    kinds = [one["kind"] for one in client.get("/v1/models").json()["data"]]
    assert "vector-reader" not in kinds  # the shipped one reads another encoder than the fake
