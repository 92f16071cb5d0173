"""Null for what is optional is as good as not sent: many clients send it for what is not set."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from api.bodies import Body, SearchBody
from api.classifier_bodies import ClassifierBody, LabelCollectionBody
from api.classify_bodies import ClassifyBody
from api.generation_bodies import ExplainBody, RewriteBody
from api.routes.classify_dialects import PredictBody, VllmClassifyBody
from api.routes.openai import EmbeddingsBody
from api.routes.rerank import CohereRerankBody, TeiRerankBody
from api.routes.tei import EmbedBody
from tests.api.test_bad_input import check_problem


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (SearchBody, {"query": "q"}),
        (ClassifierBody, {"examples": [{"text": "t", "label": "l"}]}),
        (LabelCollectionBody, {"classifier": "c", "write_to": "f"}),
        (ClassifyBody, {"texts": ["t"], "labels": ["a", "b"]}),
        (ClassifyBody, {"texts": ["t"], "classifier": "c"}),
        (ExplainBody, {"query": "q", "text": "t"}),
        (RewriteBody, {"texts": ["t"], "task": "simplify"}),
        (EmbeddingsBody, {"input": "t", "model": "m"}),
        (EmbedBody, {"inputs": "t"}),
        (TeiRerankBody, {"query": "q", "texts": ["t"]}),
        (CohereRerankBody, {"query": "q", "documents": ["t"]}),
        (PredictBody, {"inputs": "t"}),
        (VllmClassifyBody, {"input": "t"}),
    ],
)
def test_all_that_is_optional_may_be_null(kind: type[Body], sent: dict[str, Any]) -> None:
    nulls = dict.fromkeys(field.alias or name for name, field in kind.model_fields.items())
    read, expected = kind.model_validate({**nulls, **sent}), kind.model_validate(sent)
    assert read.model_dump() == expected.model_dump()


def test_nulls_within_are_left_out_too(client: TestClient, news: str) -> None:
    chunking = {"max_tokens": None, "overlap_tokens": None}
    collection = {"description": None, "chunking": chunking, "index": None, "attributes": None}
    assert client.put(news, json=collection).status_code == 200
    examples = [{"text": label, "label": label, "labels": None} for label in "ab"]
    options = {"out_of_scope": None, "seed": None, "head": None}
    classifier = {"examples": examples, "from_collection": None, "options": options}
    answer = client.put("/v1/classifiers/c", json=classifier)
    assert answer.status_code == 202, answer.text


def test_null_for_what_must_be_sent_is_told(client: TestClient, news: str) -> None:
    answer = client.post(f"{news}/search/batch", json={"searches": None})
    check_problem(answer, 422, "searches: must be a list, but is null")
    answer = client.post(f"{news}/search", json={"query": "q", "kk": None})
    check_problem(answer, 422, "kk: is not a known field")
