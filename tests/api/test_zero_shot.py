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


def test_a_single_label_fits_or_does_not(client: TestClient) -> None:
    for options in ({"none_of_these": True}, {"multi_label": True}):
        assert classify(client, "cats", labels=["cats"], **options)["labels"] == ["cats"]
        assert classify(client, "stock prices fell", labels=["cats"], **options)["labels"] == []
    refused = client.post("/v1/classify", json={"texts": ["cats"], "labels": ["cats"]})
    assert refused.status_code == 422
    assert "Only the label 'cats' was sent" in refused.json()["detail"]


def test_texts_too_few_to_help_each_other_are_told(client: TestClient) -> None:
    body = {"labels": ["cats", "dogs"], "transductive": True}
    few = client.post("/v1/classify", json={"texts": ["cats"] * 9, **body}).json()
    assert few["note"] == ("transductive did nothing: it needs 5 texts a label, 10 in all, and 9 came.")
    assert "note" not in client.post("/v1/classify", json={"texts": ["cats"] * 10, **body}).json()
