"""What a body of documents/delete must be; what it does is tested with the use case."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "either ids or filter"),
        ({"ids": ["a"], "filter": {"field": "a", "eq": 1}}, "either ids or filter"),
        ({"ids": None, "filter": None}, "either ids or filter"),
        ({"filter": []}, "filter"),
        ({"filter": {}}, "filter is an empty object"),
        (
            {"filter": {"and": [{"field": "year", "less": 3}]}},
            "filter.and[0] has the unknown operator 'less'",
        ),
        ({"filter": {"field": "year", "lt": 10**30}}, "filter.lt is an integer beyond 64 bits"),
    ],
)
def test_a_body_that_says_not_clearly_what_to_delete_is_refused(
    client: TestClient, news: str, body: dict[str, Any], reason: str
) -> None:
    answer = client.post(f"{news}/documents/delete", json=body)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
