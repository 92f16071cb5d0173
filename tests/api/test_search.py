"""Search over HTTP with the real index: modes, filters, facets, likes, pages, reranking."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

ANIMALS = {
    "cat": "A cat sat on the mat and licked its paws.",
    "dog": "A dog barked at the postman near the gate.",
    "cow": "The cow gave milk to the farmer in the morning.",
    "kitten": "The kittens played on the mat with wool.",
    "horse": "A horse galloped over the green meadow.",
}


@pytest.fixture
def animals(client: TestClient, news: str) -> str:
    documents = [
        {
            "id": name,
            "text": text,
            "metadata": {
                "legs": 4,
                "number": i,
                "sound": "loud" if i % 2 else "low",
                "tags": [name, "animal"],
            },
        }
        for i, (name, text) in enumerate(ANIMALS.items())
    ]
    assert client.post(f"{news}/documents?wait=true", json={"documents": documents}).status_code == 200
    return news


def search(client: TestClient, where: str, **body: Any) -> Any:
    answer = client.post(f"{where}/search", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(body: Any) -> list[str]:
    return [hit["id"] for hit in body["hits"]]


def test_each_mode_tells_its_scores(client: TestClient, animals: str) -> None:
    found = {
        mode: search(client, animals, query="cats", mode=mode) for mode in ("hybrid", "dense", "lexical")
    }
    assert {mode: body["mode"] for mode, body in found.items()} == {mode: mode for mode in found}
    assert ids(found["lexical"]) == ["cat"]
    assert set(found["lexical"]["hits"][0]["scores"]) == {"lexical"}
    assert set(found["dense"]["hits"][0]["scores"]) == {"dense"}
    assert set(found["hybrid"]["hits"][0]["scores"]) == {"dense", "lexical"}
    assert len(ids(found["hybrid"])) == len(ANIMALS)


@pytest.mark.parametrize(
    "query",
    [
        '"', "AND", "title:cat", "cat AND (dog", "[1 TO *]", "a:b\\", "cat^2~", "*", "-cat", "?" * 10_000,
        "🐱", "قطة",
    ],
)  # fmt: skip
def test_a_query_is_text_and_never_a_language(client: TestClient, animals: str, query: str) -> None:
    for mode in ("hybrid", "lexical"):
        assert client.post(f"{animals}/search", json={"query": query, "mode": mode}).status_code == 200


def test_filters_hold_in_every_mode(client: TestClient, animals: str) -> None:
    low = {"field": "sound", "eq": "low"}
    for mode in ("hybrid", "dense"):
        assert sorted(ids(search(client, animals, query="an animal", mode=mode, filter=low))) == [
            "cat", "cow", "horse",
        ]  # fmt: skip
    one = {"and": [{"field": "number", "gte": 3}, {"not": {"field": "tags", "eq": "horse"}}]}
    assert ids(search(client, animals, query="a cat", filter=one)) == ["kitten"]
    assert ids(search(client, animals, query="a cat", mode="lexical", filter=low)) == ["cat", "horse"]


def test_facets_count_what_the_filter_keeps(client: TestClient, animals: str) -> None:
    everything = search(client, animals, query="cat", k=1, facets=["sound", "number"])["facets"]
    assert everything["sound"]["values"] == [{"value": "low", "count": 3}, {"value": "loud", "count": 2}]
    assert (everything["number"]["min"], everything["number"]["max"], everything["number"]["distinct"]) == (
        0,
        4,
        5,
    )
    kept = search(client, animals, query="cat", filter={"field": "number", "lt": 2}, facets=["sound"])[
        "facets"
    ]
    assert kept["sound"]["values"] == [{"value": "loud", "count": 1}, {"value": "low", "count": 1}]


def test_like_finds_others(client: TestClient, animals: str) -> None:
    body = search(client, animals, like=["cat"])
    assert (body["mode"], "cat" in ids(body), len(ids(body))) == ("dense", False, 4)
    assert client.post(f"{animals}/search", json={"like": ["none"]}).status_code == 404


def test_a_negative_query_pushes_away(client: TestClient, animals: str) -> None:
    both = [{"text": "mat", "weight": 1}, {"text": "wool kittens", "weight": -1}]
    assert ids(search(client, animals, queries=both, mode="lexical")) == ["cat", "kitten"]
    assert ids(search(client, animals, queries=both[:1], mode="lexical")) == ["kitten", "cat"]


def test_pages_continue_one_another(client: TestClient, animals: str) -> None:
    whole = ids(search(client, animals, query="a cat on a mat"))
    pages = [ids(search(client, animals, query="a cat on a mat", k=2, offset=start)) for start in (0, 2, 4)]
    assert [name for page in pages for name in page] == whole


def test_reranked_hits_say_so(client: TestClient, animals: str) -> None:
    hits = search(client, animals, query="a cat on a mat", rerank=True)["hits"]
    assert [hit["scores"]["rerank"]["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_highlights_find_words_by_their_stems(client: TestClient, animals: str) -> None:
    hit = search(client, animals, query="the kitten playing", k=1)["hits"][0]
    text = hit["passage"]["text"]
    assert [text[one["start"] : one["end"]] for one in hit["highlights"]] == ["kittens", "played"]


def test_what_matches_a_filter_is_deleted(client: TestClient, animals: str) -> None:
    answer = client.post(f"{animals}/documents/delete", json={"filter": {"field": "number", "gte": 2}})
    assert (answer.status_code, answer.json()["deleted"]) == (200, 3)
    body = search(client, animals, query="an animal", min_seq=answer.json()["seq"])
    assert sorted(ids(body)) == ["cat", "dog"]


def test_changed_metadata_is_filtered_by_without_encoding(client: TestClient, animals: str) -> None:
    changed = {"id": "cat", "text": ANIMALS["cat"], "metadata": {"sound": "purr"}}
    job = client.post(f"{animals}/documents?wait=true", json={"documents": [changed]}).json()["job"]
    purring = {"field": "sound", "eq": "purr"}
    assert ids(search(client, animals, query="animal", filter=purring, min_seq=job["seq"])) == ["cat"]


def test_a_collection_tells_its_fields(client: TestClient, animals: str) -> None:
    body = client.get(animals).json()
    assert body["fields"] == {"legs": "number", "number": "number", "sound": "keyword", "tags": "keyword"}
    assert body["unindexed"] == {}
    assert body["fields_beyond_limits"] == {"documents": 0, "max_fields": 1000, "max_name_bytes": 512}
    metadata = {f"field{i}": i for i in range(1001)}
    wide = [{"id": "wide", "text": "a wide fish", "metadata": metadata}]
    assert client.post(f"{animals}/documents?wait=true", json={"documents": wide}).status_code == 200
    body = client.get(animals).json()
    assert (len(body["fields"]), body["unindexed"]) == (1000, {})
    assert body["fields_beyond_limits"]["documents"] == 1
    answer = client.post(f"{animals}/search", json={"query": "fish", "facets": ["field1000"]})
    assert "not indexed (documents that have such fields: 1)" in answer.json()["detail"]


def test_a_language_is_checked_at_creation(client: TestClient) -> None:
    answer = client.put("/v1/collections/other", json={"language": "xx"})
    assert answer.status_code == 422
    assert "'xx' is not known" in answer.json()["detail"]
    assert client.put("/v1/collections/german", json={"language": "de"}).status_code == 201


def test_a_collection_made_anew_is_filtered_at_once(client: TestClient, animals: str) -> None:
    low = {"field": "sound", "eq": "low"}
    search(client, animals, query="animal", filter=low, k=1)
    client.delete(animals)
    client.put(animals, json={})
    documents = [{"id": "new", "text": "A new animal.", "metadata": {"sound": "low"}}]
    client.post(f"{animals}/documents?wait=true", json={"documents": documents})
    assert ids(search(client, animals, query="animal", filter=low, k=1)) == ["new"]
    assert ids(search(client, animals, like=["new"])) == []


def test_a_description_with_nul_is_refused(client: TestClient, news: str) -> None:
    assert client.put("/v1/collections/nul", json={"description": "a\0b"}).status_code == 422
    assert client.patch(news, json={"description": "a\0b"}).status_code == 422


@pytest.mark.parametrize(
    ("bad", "status", "words"),
    [
        ({"query": "c", "k": 0}, 422, "k is 0"),
        ({"query": "c", "min_seq": 10**6}, 422, "min_seq is 1000000"),
        ({"query": "c", "filter": {"field": "colour", "eq": 1}}, 422, "colour"),
        ({"query": "c", "filter": {"fild": "legs"}}, 422, "filter.field is missing"),
        ({"query": "c", "facets": ["colour"]}, 422, "colour"),
        ({"query": "c", "rewrite": True, "k": 101}, 422, "with rewrite"),
        ({"query": "c", "rewrite": True, "filter": {"field": "colour", "eq": 1}}, 422, "colour"),
        ({"like": ["cat", "nobody"]}, 404, "'nobody'"),
    ],
)
def test_a_batch_says_which_search_is_at_fault(
    client: TestClient, animals: str, bad: dict[str, Any], status: int, words: str
) -> None:
    searches = [{"query": "a"}, {"query": "b", "rewrite": True}, bad]
    answer = client.post(f"{animals}/search/batch", json={"searches": searches})
    assert answer.status_code == status
    body = answer.json()
    assert body["detail"].startswith("searches[2]: ")
    assert words in body["detail"]
    alone = client.post(f"{animals}/search", json=bad).json()
    assert "searches" not in alone["detail"]
    if status == 422:
        assert body["errors"] == [{"field": "searches.2", "reason": alone["detail"]}]


def test_a_batch_on_a_collection_that_is_not_there_blames_no_search(client: TestClient) -> None:
    answer = client.post("/v1/collections/nobody/search/batch", json={"searches": [{"query": "a"}]})
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("collection 'nobody'")
