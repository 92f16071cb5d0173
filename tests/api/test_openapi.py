"""The OpenAPI document tells the truth, and clients can be generated from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.answer_shapes import (
    AcceptedAnswer,
    CollectionAnswer,
    CollectionsAnswer,
    DeletedAnswer,
    DocumentAnswer,
    DocumentsAnswer,
    JobAnswer,
    JobsAnswer,
    SearchAnswer,
    SearchBatchAnswer,
    Shape,
)
from api.app import MODULES
from core.services import Services
from tests.api.serving import served

VALUES = {"{name}": "none", "{number}": "1", "{job_id}": "none", "{plot}": "none"}


@pytest.fixture
def document(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def resolved(document: Any, schema: dict[str, Any]) -> Any:
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def test_each_operation_has_a_name_of_its_own(document: Any) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names) == sum(len(module.router.routes) for module in MODULES)
    assert "search" in names
    assert all(name.isidentifier() for name in names)


def test_every_error_has_the_shape_that_the_document_tells(client: TestClient, document: Any) -> None:
    refused = 0
    for method, path, operation in operations(document):
        url = path
        for name, value in VALUES.items():
            url = url.replace(name, value)
        answer = client.request(method.upper(), url, json=[] if "requestBody" in operation else None)
        if answer.status_code < 400:
            continue
        refused += 1
        content = operation["responses"]["default"]["content"]
        assert answer.headers["content-type"] in content, url
        schema = resolved(document, content[answer.headers["content-type"]]["schema"])
        body = answer.json()
        assert set(schema["required"]) <= set(body) <= set(schema["properties"]), url
    assert refused > 40


def test_both_dialects_of_classification_tell_their_errors(client: TestClient, document: Any) -> None:
    content = document["paths"]["/v1/classify"]["post"]["responses"]["default"]["content"]
    answer = client.post("/v1/classify", json={"inputs": []})
    schema = resolved(document, content[answer.headers["content-type"]]["schema"])
    assert set(answer.json()) == set(schema["properties"])


def test_nothing_of_the_framework_that_nobody_gets_is_in_the_document(document: Any) -> None:
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])
    assert not any("422" in operation["responses"] for _, _, operation in operations(document))


def test_no_values_of_an_enum_differ_by_case_alone(document: Any) -> None:
    """Generators make one name of them, and fail."""

    def enums(node: Any) -> Iterator[list[Any]]:
        if isinstance(node, dict):
            yield from [node["enum"]] if isinstance(node.get("enum"), list) else []
            for inner in node.values():
                yield from enums(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from enums(inner)

    found = list(enums(document))
    assert found
    assert all(len({str(value).lower() for value in values}) == len(values) for values in found)


def test_keys_are_in_the_document_which_browsers_get_without_one(services: Services) -> None:
    with served(services, api_keys="topsecret") as client:
        assert client.get("/docs").status_code == 200
        assert client.get("/docs/none").status_code == 401
        document = client.get("/openapi.json").json()
    (name,) = document["security"][0]
    assert document["components"]["securitySchemes"][name] == {"type": "http", "scheme": "bearer"}
    assert document["paths"]["/health/live"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/collections"]["get"]


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_pages_of_documentation_need_no_other_host(services: Services, page: str) -> None:
    with served(services, api_keys="topsecret") as client:
        text = client.get(page).text
        assets = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert any(asset.endswith(".js") for asset in assets)
        for asset in assets:
            assert asset.startswith("/docs/assets/")
            assert client.get(asset).status_code == 200
        assert client.get("/docs/assets/../../v1/collections").status_code == 401
        assert client.get("/docs/assets/%2e%2e/%2e%2e/api/app.py").status_code in (401, 404)


def checked(client: TestClient, shape: type[Shape], method: str, path: str, **sent: Any) -> Any:
    """The answer, which has all that the shape tells and nothing else."""
    answer = client.request(method, path, **sent)
    assert answer.is_success, answer.text
    shape.model_validate_json(answer.content, extra="forbid")
    return answer.json()


def test_answers_hold_what_the_document_tells(client: TestClient, news: str) -> None:
    documents = [
        {"id": str(i), "text": f"a cat and a dog {i}", "title": "t", "metadata": {"year": i, "on": True}}
        for i in range(5)
    ]
    job = checked(
        client, AcceptedAnswer, "POST", f"{news}/documents?wait=true", json={"documents": [*documents, {}]}
    )["job"]
    checked(client, JobAnswer, "GET", f"/v1/jobs/{job['id']}")
    checked(client, JobsAnswer, "GET", "/v1/jobs")
    checked(client, JobAnswer, "POST", f"/v1/jobs/{job['id']}/cancel")
    checked(client, CollectionAnswer, "GET", news)
    checked(client, CollectionAnswer, "PATCH", news, json={"search": {"mode": "hybrid"}})
    checked(client, CollectionsAnswer, "GET", "/v1/collections")
    checked(client, DocumentAnswer, "GET", f"{news}/documents/1")
    checked(client, DocumentsAnswer, "GET", f"{news}/documents?limit=2")
    search = {"query": "a cat", "explain": True, "facets": ["year", "on"], "rerank": True}
    found = checked(client, SearchAnswer, "POST", f"{news}/search", json=search)
    assert found["hits"][0]["explanation"]["tokens"]
    checked(client, SearchAnswer, "POST", f"{news}/search", json={"query": "a cat", "rewrite": True})
    checked(client, SearchBatchAnswer, "POST", f"{news}/search/batch", json={"searches": [{"query": "cat"}]})
    checked(client, DeletedAnswer, "DELETE", f"{news}/documents/1")
    checked(client, DeletedAnswer, "POST", f"{news}/documents/delete", json={"ids": ["2"]})
    file = {"file": ("rows.jsonl", b'{"id": "a", "text": "b"}')}
    checked(client, AcceptedAnswer, "POST", f"{news}/import", files=file)
    checked(client, AcceptedAnswer, "POST", "/v1/admin/backups", json={})
    examples = [{"text": label, "label": label} for label in "ab"]
    checked(client, AcceptedAnswer, "PUT", "/v1/classifiers/c", json={"examples": examples})
