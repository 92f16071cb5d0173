"""What is wrong with a field is told in the caller's words, never in the validator's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.test_bad_input import check_problem

INTERNALS = ("Body", "str]", "Input should", "Value error", "Field required", "dictionary", "parse")


@pytest.mark.parametrize(
    ("labels", "field", "reason"),
    [
        (["a", 3], "labels.1", "must be a string or an object, but is a number"),
        (["a", None], "labels.1", "must be a string or an object, but is null"),
        (["a", {"nme": "b"}], "labels.1.name", "is missing"),
        (["a", {"name": 7}], "labels.1.name", "must be a string, but is a number"),
        (["a", {"name": "b", "examples": "x"}], "labels.1.examples", "must be a list, but is a string"),
        (["a", {"name": "b", "examples": [[]]}], "labels.1.examples.0", "must be a string, but is a list"),
        ("ab", "labels", "must be a list, but is a string"),
        (["a"] * 1001, "labels", "has 1,001 items; at most 1,000 are allowed"),
    ],
)
def test_a_bad_label_is_named_without_the_kinds_it_was_tried_as(
    client: TestClient, labels: Any, field: str, reason: str
) -> None:
    answer = client.post("/v1/classify", json={"texts": ["x"], "labels": labels})
    check_problem(answer, 422, f"{field}: {reason}")
    assert answer.json()["errors"][0] == {"field": field, "reason": reason}
    assert not [word for word in INTERNALS if word in answer.text]


def test_all_faults_of_one_label_are_told(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"texts": ["x"], "labels": ["a", {"nme": "b"}]})
    check_problem(answer, 422, "labels.1.name: is missing; labels.1.nme: is not a known field")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (None, "body: must be an object, but is null"),
        ([], "body: must be an object, but is a list"),
        ({}, "texts: is missing"),
        ({"texts": ["x"]}, "body: send either labels or classifier"),
        ({"texts": [True], "labels": ["a", "b"]}, "texts.0: must be a string, but is a boolean"),
        (
            {"texts": ["x"], "classifier": "a", "version": "1"},
            "version: must be a whole number, but is a string",
        ),
        ({"texts": ["x"], "classifier": "a", "version": 1.5}, "version: must be a whole number"),
        ({"texts": ["x"], "classifier": "a", "version": 0}, "version: must be greater than or equal to 1"),
        (
            {"texts": ["x"], "classifier": "a", "evidence": 1},
            "evidence: must be true or false, but is a number",
        ),
    ],
)
def test_a_bad_field_is_told_with_what_was_expected_and_found(
    client: TestClient, body: Any, detail: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/classify", content=json.dumps(body), headers=headers)
    check_problem(answer, 422)
    assert answer.json()["detail"] == detail


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("POST", "/v1/collections/news/documents", "known are documents"),
        ("POST", "/v1/collections/news/search", "known are query, queries, like"),
        ("POST", "/v1/admin/backups/b/restore", "known are collection, as, replace"),
        ("POST", "/v1/classify", "known are texts, labels"),
    ],
)
def test_of_very_many_unknown_fields_is_told_how_many_there_are(
    client: TestClient, method: str, path: str, known: str
) -> None:
    answer = client.request(method, path, json={f"document {i}": {"text": "x"} for i in range(1000)})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "body"
    assert error["reason"].startswith(f"has 1,000 fields; {known}")


def test_a_bad_number_in_the_address_is_told_without_the_parser(client: TestClient) -> None:
    answer = client.post("/v1/classifiers/topics/versions/one/activate")
    check_problem(answer, 422)
    assert answer.json()["detail"] == "path.number: must be a whole number"


def test_half_a_character_in_a_name_is_told_as_such(client: TestClient) -> None:
    sent = '{"classifier": "a", "write_to": "\\ud800"}'
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/collections/news/classify", content=sent, headers=headers)
    check_problem(answer, 422, "write_to: has a lone surrogate")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (3, "inputs: must be a string or a list, but is a number"),
        ([["a", 1]], "inputs.0.1: must be a string, but is a number"),
    ],
)
def test_a_dialect_names_its_field_alone(client: TestClient, inputs: Any, message: str) -> None:
    answer = client.post("/predict", json={"inputs": inputs})
    assert answer.status_code == 422
    assert answer.json()["error"] == message


def test_keys_that_are_called_like_a_kind_are_fields(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"texts": ["x"], "labels": ["a", {"name": "b", "str": 1}]})
    check_problem(answer, 422, "labels.1.str: is not a known field")


def test_kinds_that_a_value_may_be_are_listed_once(client: TestClient) -> None:
    answer = client.post("/v1/embeddings", json={"input": [3.5], "model": "cognate-small"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "input.0: must be a string, a whole number or a list"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("normalize", False, "must be true"), ("prompt_name", "query", "must be null")],
)
def test_the_only_value_of_a_field_is_told_as_json_writes_it(
    client: TestClient, field: str, value: object, expected: str
) -> None:
    answer = client.post("/embed", json={"inputs": "a", field: value})
    assert answer.status_code == 422
    assert answer.json()["error"] == f"{field}: {expected}"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("1" + "0" * 40, "1" + "0" * 39 + "…"),
        ("9" * 5000, "9" * 40 + "…"),
        ("-" + "9" * 5000, "-" + "9" * 39 + "…"),
        ("9" * 40, "9" * 40),
        ("-" + "9" * 39, "-" + "9" * 39),
    ],
)
@pytest.mark.parametrize("field", ["k", "offset"])
def test_a_long_number_is_cut_with_a_mark(
    client: TestClient, news: str, field: str, number: str, shown: str
) -> None:
    headers = {"Content-Type": "application/json"}
    search = f'{{"query": "a", "{field}": {number}}}'
    answer = client.post(f"{news}/search", content=search, headers=headers)
    check_problem(answer, 422, f"{field} is {shown}; ")
    batch = client.post(f"{news}/search/batch", content=f'{{"searches": [{search}]}}', headers=headers)
    check_problem(batch, 422, f"searches[0]: {field} is {shown}; ")
    assert batch.json()["errors"][0]["reason"] == answer.json()["detail"]


def test_a_long_min_seq_is_cut_and_an_id_of_digits_is_not(client: TestClient, news: str) -> None:
    headers = {"Content-Type": "application/json"}
    content = f'{{"query": "a", "min_seq": {10**40}}}'
    answer = client.post(f"{news}/search", content=content, headers=headers)
    check_problem(answer, 422, f"min_seq is {10**39}…, but")
    check_problem(client.get(f"{news}/documents/{10**100}"), 404, f"document '{10**100}' ")
