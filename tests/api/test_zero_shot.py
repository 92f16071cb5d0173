"""Zero-shot classification over HTTP: what a label can be told by, several labels, none of them."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient


def classify(client: TestClient, text: str, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/classify", json={"texts": [text], **body})
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    return dict(result)


def test_labels_are_told_by_words_and_examples(client: TestClient) -> None:
    labels = [
        {"name": "x1", "description": "cats and dogs"},
        {"name": "x2", "examples": ["stock prices fell"]},
        {"name": "x3", "phrasings": ["rain and storm"]},
    ]
    for text, label in (("cats dogs", "x1"), ("stock prices", "x2"), ("rain storm", "x3")):
        result = classify(client, text, labels=labels)
        assert (result["label"], result["labels"]) == (label, [label])
        assert not result["abstained"]
        assert "none" not in result


def test_each_of_several_labels_has_a_probability_of_its_own(client: TestClient) -> None:
    both = classify(client, "cats dogs", labels=["cats", "dogs", "cars"], multi_label=True)
    assert set(both["labels"]) == {"cats", "dogs"}
    assert sum(both["scores"].values()) > 1


def test_none_of_these_abstains_with_its_probability(client: TestClient) -> None:
    result = classify(client, "stock prices", labels=["cats", "dogs"], none_of_these=True)
    assert (result["abstained"], result["reason"], result["labels"]) == (True, "none_of_these", [])
    assert result["none"] > result["score"]
    fitting = classify(client, "cats", labels=["cats", "dogs"], none_of_these=True)
    assert (fitting["abstained"], fitting["label"]) == (False, "cats")
