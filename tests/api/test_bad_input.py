"""Bad input: a clear 4xx as problem+json, and nothing lost."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

Q = "/v1/collections/news/search"
D = "/v1/collections/news/documents"


def check_problem(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) >= {"type", "title", "status", "detail", "request_id"}
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    for word in words:
        assert word in body["detail"], body["detail"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"id": "a", "text": ""}, "empty"),
        ({"id": "a", "text": " \n "}, "empty"),
        ({"id": "a", "text": "x" * 10_000_000}, "the limit is 1,048,576"),
        ({"id": "a", "text": "a\x00"}, "NUL"),
        ({"id": "a", "text": "a\ud800"}, "surrogate"),
        ({"id": "x" * 600, "text": "t"}, "600 bytes; the limit is 512"),
        ({"id": "a", "text": "t", "metadata": {"x": float("nan")}}, "finite"),
        ({"id": 7, "text": "t"}, "must be a string"),
        ({"id": "a", "txt": "t"}, "'txt'"),
    ],
)
def test_a_bad_document_alone_is_a_422(client: TestClient, news: str, document: object, reason: str) -> None:
    content = json.dumps({"documents": [document]})
    answer = client.post(D, content=content, headers={"Content-Type": "application/json"})
    check_problem(answer, 422, reason)
    assert answer.json()["errors"][0]["reason"]
    assert client.get(news).json()["documents"]["total"] == 0


@pytest.mark.parametrize(
    "number", [str(2**63), str(2**64), str(-(2**63) - 1), "9" * 25, "-" + "9" * 400, "1" + "0" * 10_000]
)
def test_an_integer_beyond_64_bits_is_refused_for_its_document_alone(
    client: TestClient, news: str, number: str
) -> None:
    exact = 2**63 - 1
    big = f'{{"id":"big","text":"t","metadata":{{"deep":[{{"n":{number}}}]}}}}'
    metadata = f'{{"n":{exact},"m":{-exact - 1},"f":1e30,"g":0.1234567890123456789}}'
    good = f'{{"id":"good","text":"a text with {number} in it","metadata":{metadata}}}'
    content = f'{{"documents":[{big},{good}]}}'
    answer = client.post(f"{D}?wait=true", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["job"]["errors"] == [
        {"id": "big", "reason": "'metadata.deep[0].n' is an integer beyond 64 bits; send it as a string."}
    ]
    document = client.get(f"{D}/good").json()
    assert document["metadata"] == {"n": exact, "m": -exact - 1, "f": 1e30, "g": 0.1234567890123456789}
    assert number in document["text"]


def test_metadata_nested_a_hundred_thousand_deep_is_refused(client: TestClient, news: str) -> None:
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    content = '{"documents":[{"id":"a","text":"t","metadata":' + deep + "}]}"
    answer = client.post(D, content=content, headers={"Content-Type": "application/json"})
    check_problem(answer, 400, "nested too deeply")


def test_one_bad_document_in_a_thousand_fails_alone(client: TestClient, news: str) -> None:
    documents: list[dict[str, Any]] = [{"id": str(i), "text": f"text {i}"} for i in range(1000)]
    documents[3]["metadata"] = {"x": float("nan")}
    documents[4]["text"] = "\ud800"
    answer = client.post(
        f"{D}?wait=true",
        content=json.dumps({"documents": documents}),
        headers={"Content-Type": "application/json"},
    )
    job = answer.json()["job"]
    assert (job["done"], job["failed"]) == (998, 2)
    assert [error["id"] for error in job["errors"]] == ["3", "4"]


def test_an_id_twice_in_a_batch_is_refused(client: TestClient, news: str) -> None:
    documents = [{"id": "a", "text": "1"}, {"id": "a", "text": "2"}]
    check_problem(client.post(D, json={"documents": documents}), 422, "'a'")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"query": "x", "k": 0}, ("k is 0",)),
        ({"query": "x", "k": -1}, ("k is -1",)),
        ({"query": "x", "k": 1_000_000}, ("1000000", "1 to 1000")),
        ({"query": "x", "k": 10**30}, ("k",)),
        ({"query": "x", "k": "10"}, ("k: ",)),
        ({"query": "x", "k": 1.5}, ("k: ",)),
        ({"query": "x", "k": True}, ("k: ",)),
        ({"query": 3}, ("query: ",)),
        ({"query": None}, ("exactly one of",)),
        ({"query": ""}, ("'query' is empty",)),
        ({"qeury": "x"}, ("qeury: is not a known field",)),
        ({"query": "x", "mode": "fuzzy"}, ("mode 'fuzzy' is not known; use hybrid, dense, lexical",)),
        ({"query": "x", "queries": [{"text": "y"}]}, ("found 'query' and 'queries'",)),
        ({"queries": [{"text": "y", "weight": 0}]}, ("queries[0].weight is 0",)),
        ({"queries": [{"text": "y", "wait": 1}]}, ("queries.0.wait",)),
        ({"like": [3]}, ("like.0",)),
        ({"like": ["a"], "mode": "lexical"}, ("mode must be dense",)),
        ({"query": "x", "filter": []}, ("filter is an empty array",)),
        ({"query": "x", "filter": {"field": "none", "eq": 1}}, ("'none' is unknown", "Known fields")),
        ({"query": "x", "facets": ["none"]}, ("'none' is unknown",)),
        ({"query": "x", "fusion": {"method": "magic"}}, ("fusion.method",)),
        ({"query": "x", "fusion": {"dense_weight": 2}}, ("dense_weight is 2",)),
        ({"query": "x", "diversity": -1}, ("diversity is -1",)),
        ({"query": "x", "score_threshold": "high"}, ("score_threshold",)),
        ({}, ("found none of them",)),
        ([], ("body",)),
        ("query", ("body",)),
    ],
)
def test_a_bad_search_is_a_422(client: TestClient, news: str, body: object, words: tuple[str, ...]) -> None:
    check_problem(client.post(Q, json=body), 422, *words)


@pytest.mark.parametrize("name", ["a.b", "..a", "a b", "é", "-a", "x" * 65, "a%00b"])
def test_a_bad_collection_name_is_a_422(client: TestClient, name: str) -> None:
    check_problem(client.put(f"/v1/collections/{name}", json={}), 422, "is not allowed")


def test_a_collection_name_with_a_slash_names_nothing(client: TestClient) -> None:
    assert client.put("/v1/collections/a/b", json={}).status_code == 404
    assert client.put("/v1/collections/a%2Fb", json={}).status_code in (404, 422)


@pytest.mark.parametrize(
    "path", ["/v1/collections/none", "/v1/collections/none/documents/x", "/v1/jobs/none", "/nothing"]
)
def test_what_does_not_exist_is_a_404(client: TestClient, path: str) -> None:
    check_problem(client.get(path), 404)


def test_writing_to_an_unknown_collection_is_a_404(client: TestClient) -> None:
    documents = {"documents": [{"id": "a", "text": "t"}]}
    check_problem(client.post("/v1/collections/none/documents", json=documents), 404, "none")
    check_problem(client.post("/v1/collections/none/search", json={"query": "x"}), 404, "none")


@pytest.mark.parametrize(
    "content", [b'{"documents": [{"id": "a", "te', b"", b"{", b"\xff\xfe{}", b"nonsense"]
)
def test_broken_json_is_a_4xx_that_says_where(client: TestClient, news: str, content: bytes) -> None:
    answer = client.post(D, content=content, headers={"Content-Type": "application/json"})
    check_problem(answer, 422 if content == b"" else 400)


def test_a_packed_body_is_a_415(client: TestClient, news: str) -> None:
    packed = gzip.compress(json.dumps({"query": "x"}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    check_problem(client.post(Q, content=packed, headers=headers), 415, "without compression")
    plain = {**headers, "Content-Encoding": "identity"}
    assert client.post(Q, content=json.dumps({"query": "x"}), headers=plain).status_code == 200


def test_another_content_type_is_a_415(client: TestClient, news: str) -> None:
    body = json.dumps({"query": "x"})
    check_problem(
        client.post(Q, content=body, headers={"Content-Type": "text/plain"}), 415, "application/json"
    )
    check_problem(client.post(Q, data={"query": "x"}), 415, "application/json")
    unread = client.post(Q, content=body, headers={"Content-Type": "text/json"})
    check_problem(unread, 415, "Content-Type is 'text/json'", "application/json")
    check_problem(client.post(Q, content=body), 415, "Content-Type is missing")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/collections/news", "GET, PUT, PATCH, DELETE"),
        (Q, "POST"),
        ("/v1/collections/news/judgements", "GET, PUT, DELETE"),
        ("/v1/collections/news/documents/delete", "GET, POST, DELETE"),
        ("/v1/models", "GET"),
    ],
)
def test_another_method_is_a_405_that_names_those_of_all_routes(
    client: TestClient, news: str, path: str, allowed: str
) -> None:
    answer = client.request("OPTIONS", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_body_over_the_limit_is_a_413_that_names_it(client: TestClient, news: str) -> None:
    big = b"x" * (12 * 1024**2 + 1)
    check_problem(
        client.post(D, content=big, headers={"Content-Type": "application/json"}), 413, "12,582,912"
    )

    def chunks() -> Any:  # without a Content-Length
        for _ in range(13):
            yield b"x" * 1024**2

    check_problem(client.post(D, content=chunks(), headers={"Content-Type": "application/json"}), 413)


def test_too_many_documents_are_a_413(client: TestClient, news: str) -> None:
    documents = [{"id": str(i), "text": "t"} for i in range(10_001)]
    check_problem(client.post(D, json={"documents": documents}), 413, "10,000")


def test_a_method_that_is_not_allowed_is_a_405(client: TestClient) -> None:
    check_problem(client.delete("/v1/collections"), 405, "DELETE")


@pytest.mark.parametrize(
    ("filename", "content", "words"),
    [
        ("empty.csv", b"", ("empty",)),
        ("rows.csv", b"id,name\n1,x\n", ("text",)),
        ("rows.csv", "id,text\n1,caf\xe9\n".encode("latin-1"), ("UTF-8",)),
        ("rows.parquet", b"PAR0 this is not Parquet at all", ("Parquet",)),
        ("rows.xlsx", b"PK", (".csv",)),
        ("rows.json", b'{"documents": [', ()),
        ("rows.jsonl.gz", b"not gzip", ()),
    ],
)
def test_a_bad_file_is_refused_and_not_kept(
    client: TestClient, news: str, services: Any, filename: str, content: bytes, words: tuple[str, ...]
) -> None:
    check_problem(client.post(f"{news}/import", files={"file": (filename, content)}), 422, *words)
    assert services.uploads.list() == []


def test_an_import_with_a_text_column_that_is_not_there_names_the_columns(
    client: TestClient, news: str
) -> None:
    files = {"file": ("rows.csv", b"id,body\n1,x\n")}
    check_problem(client.post(f"{news}/import", files=files, data={"text_field": "txt"}), 422, "txt", "body")


def test_ragged_rows_fail_alone(client: TestClient, news: str) -> None:
    content = b"id,text\n1,good\n2,too,many,cells\n3,good\n"
    job = client.post(f"{news}/import", files={"file": ("rows.csv", content)}).json()["job"]
    while not job["finished_at"]:
        job = client.get(f"/v1/jobs/{job['id']}").json()
    assert (job["total"], job["done"], job["failed"]) == (3, 2, 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"texts": [], "labels": ["a", "b"]}, ("0 texts",)),
        ({"texts": ["x"], "labels": ["a"]}, ("Only the label 'a'",)),
        ({"texts": ["x"], "labels": ["a", "a"]}, ("share the name",)),
        ({"texts": [" "], "labels": ["a", "b"]}, ("texts[0] is empty",)),
        ({"texts": ["x"], "labels": ["a", {"name": "b", "exmples": []}]}, ("exmples",)),
        ({"texts": "x", "labels": ["a", "b"]}, ("texts",)),
    ],
)
def test_a_bad_classification_is_a_422(client: TestClient, body: object, words: tuple[str, ...]) -> None:
    check_problem(client.post("/v1/classify", json=body), 422, *words)


@pytest.mark.parametrize(
    "body",
    [
        {"chunking": {"max_tokens": 3}},
        {"chunking": {"max_tokens": 100_000}},
        {"chunking": {"max_tokens": 64, "overlap_tokens": 60}},
        {"index": "NoSuchIndex"},
        {"encoder": "other"},
        {"attributes": {"x": "colour"}},
        {"attributes": {"": "number"}},
        {"attributes": {"x" * 513: "number"}},
        {"attributes": {f"f{i}": "number" for i in range(1_001)}},
        {"language": "english"},
        {"chunks": {}},
    ],
)
def test_bad_collection_settings_are_a_422(client: TestClient, body: object) -> None:
    check_problem(client.put("/v1/collections/news", json=body), 422)


def test_unknown_query_parameters_are_refused_by_name(client: TestClient, news: str) -> None:
    documents = {"documents": [{"id": "a", "text": "t"}]}
    check_problem(client.post(f"{D}?wiat=true", json=documents), 422, "'wiat'", "wait")
    check_problem(client.get("/v1/jobs?limt=3"), 422, "'limt'", "limit")
    assert client.get(news).json()["documents"]["total"] == 0


def test_unknown_form_fields_of_an_import_are_refused_by_name(client: TestClient, news: str) -> None:
    files = {"file": ("rows.csv", b"id,body,text\n1,x,y\n")}
    check_problem(
        client.post(f"{news}/import", files=files, data={"text_feild": "body"}), 422, "'text_feild'"
    )


def test_a_batch_that_asks_for_too_many_hits_is_a_422(client: TestClient, news: str) -> None:
    searches = [{"query": "x", "k": 1000}] * 25 + [{"query": "x", "k": 600}]
    assert client.post(f"{news}/search/batch", json={"searches": searches}).status_code == 200
    for more in ({"query": "x", "k": 1}, {"query": "x", "k": 1, "rewrite": True}):
        answer = client.post(f"{news}/search/batch", json={"searches": [*searches, more]})
        check_problem(answer, 422, "25,601", "25,600", "several calls")
    answer = client.post(f"{news}/search/batch", json={"searches": [*searches, {"query": "x", "k": 5000}]})
    check_problem(answer, 422)


def test_many_bad_items_are_one_short_answer(client: TestClient, news: str) -> None:
    answer = client.post(f"{news}/search/batch", json={"searches": [1] * 200})
    check_problem(answer, 422)
    assert len(answer.content) < 2000
    check_problem(client.post("/v1/classify", json={"texts": [1] * 2000, "labels": ["a", "b"]}), 422)


@pytest.mark.parametrize("value", ["abc", "0", "-1", "1001", ""])
def test_a_bad_limit_is_a_422(client: TestClient, value: str) -> None:
    check_problem(client.get(f"/v1/jobs?limit={value}"), 422, "limit")


@pytest.mark.parametrize("before", ["abc", "", "a%00b", "0" * 32, "x" * 101])
def test_a_list_of_jobs_behind_an_unknown_one_is_a_422(client: TestClient, news: str, before: str) -> None:
    client.post(f"{D}?wait=true", json={"documents": [{"id": "a", "text": "t"}]})
    answer = client.get(f"/v1/jobs?before={before}")
    check_problem(answer, 422, "before")
    if len(before) <= 100:
        check_problem(answer, 422, "there is no such job", "removed after a while", "that is listed")


def test_attribute_names_must_be_valid_text(client: TestClient) -> None:
    content = '{"attributes": {"\\ud800": "number"}}'
    answer = client.put("/v1/collections/c", content=content, headers={"Content-Type": "application/json"})
    check_problem(answer, 422, "surrogate")
