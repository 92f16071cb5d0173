"""Trained classifiers over HTTP: trained, used, corrected, compared, rolled back and deleted."""

from __future__ import annotations

import math
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.classifying import CLASSIFIERS, WORDS, classify, examples, finished, sentences, train

TOPICS = f"{CLASSIFIERS}/topics"
NEW = ["cat paw fur", "bank cash price", "toast salt soup"]


def test_a_trained_classifier_predicts_with_probabilities(client: TestClient) -> None:
    job = train(client)
    assert (job["kind"], job["classifier"], job["done"]) == ("train", "topics", 36)
    results = classify(client, *NEW)
    assert [result["label"] for result in results] == ["animals", "money", "food"]
    for result in results:
        assert sum(result["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert result["score"] == max(result["scores"].values())
        assert (result["truncated"], "evidence" in result) == (False, False)


def test_it_is_described_with_its_labels_and_versions(client: TestClient) -> None:
    told = [{"name": "money", "description": "banks and prices"}, "animals", "food"]
    train(client, labels=told, options={"head": "logistic", "seed": 3})
    body = client.get(TOPICS).json()
    assert (body["name"], body["active_version"], body["examples"]) == ("topics", 1, 36)
    assert {one["name"]: one["description"] for one in body["labels"]} == {
        "animals": "",
        "food": "",
        "money": "banks and prices",
    }
    assert (body["options"]["head"], body["options"]["seed"]) == ("logistic", 3)
    (version,) = body["versions"]
    assert (version["version"], version["head"], version["origin"]) == (1, "logistic", "training")
    assert version["encoder"]["id"] == body["encoder"]["id"] == "fake"
    assert version["metrics"]["accuracy"] > 0.9
    assert [one["name"] for one in client.get(CLASSIFIERS).json()["classifiers"]] == ["topics"]
    assert client.get(f"{TOPICS}/versions").json()["versions"] == [version]


def test_evidence_adds_up_to_the_logit(client: TestClient) -> None:
    train(client, options={"head": "logistic"})
    (result,) = classify(client, NEW[0], evidence=True)
    evidence = result["evidence"]
    total = evidence["bias"] + math.fsum(token["contribution"] for token in evidence["tokens"])
    assert total == pytest.approx(evidence["logit"], abs=1e-3)
    assert max(evidence["tokens"], key=lambda token: token["contribution"])["text"] in NEW[0]
    assert evidence["label"] == "animals"
    for level in (evidence["words"], evidence["sentences"]):
        assert evidence["bias"] + math.fsum(one["contribution"] for one in level) == pytest.approx(total)
    for other in evidence["others"]:
        assert other["bias"] + math.fsum(other["contributions"]) == pytest.approx(other["logit"])
    assert {evidence["label"], *(other["label"] for other in evidence["others"])} == set(result["scores"])
    assert evidence["neighbours"][0]["labels"] == ["animals"]


def test_feedback_serves_at_once_and_may_bring_a_label(client: TestClient) -> None:
    train(client)
    body = {"examples": [{"text": text, "label": "weather"} for text in sentences("weather")]}
    answer = client.post(f"{TOPICS}/examples", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["changes"]["added"] == 12
    assert (answer.json()["version"]["version"], answer.json()["version"]["origin"]) == (2, "feedback")
    (result,) = classify(client, "rain wind storm cloud")
    assert result["label"] == "weather"
    assert client.get(TOPICS).json()["active_version"] == 2


def test_examples_are_listed_in_pages_corrected_and_removed(client: TestClient) -> None:
    train(client)
    first = client.get(f"{TOPICS}/examples", params={"limit": 30}).json()
    rest = client.get(f"{TOPICS}/examples", params={"limit": 30, "after": first["next"]}).json()
    assert (len(first["examples"]), len(rest["examples"]), rest["next"]) == (30, 6, None)
    text = first["examples"][0]["text"]
    body = {"examples": [{"text": text, "label": "food"}], "remove": [first["examples"][1]["text"]]}
    changes = client.post(f"{TOPICS}/examples", json=body).json()["changes"]
    assert (changes["corrected"], changes["removed"], changes["added"]) == (1, 1, 0)
    listed = client.get(f"{TOPICS}/examples").json()["examples"]
    assert len(listed) == 35
    assert next(one["labels"] for one in listed if one["text"] == text) == ["food"]


def test_rolling_back_brings_the_same_predictions(client: TestClient) -> None:
    train(client)
    before = classify(client, *NEW)
    wrong = {"examples": [{"text": text, "label": "money"} for text in sentences("animals")]}
    client.post(f"{TOPICS}/examples", json=wrong)
    assert classify(client, *NEW) != before
    compared = client.get(f"{TOPICS}/versions/compare", params={"first": 1, "second": 2}).json()
    assert compared["labels_only_in_first"] == ["animals"]
    assert compared["predictions"]["differing"] >= 12
    assert classify(client, *NEW, version=1) == before
    assert client.post(f"{TOPICS}/versions/1/activate").json()["version"] == 1
    assert classify(client, *NEW) == before


def test_training_again_keeps_examples_options_and_labels(client: TestClient) -> None:
    train(
        client,
        options={"head": "prototypes"},
        labels=[{"name": "food", "description": "to eat"}, "animals", "money"],
    )

    job = finished(client, client.put(TOPICS, json={}))
    assert (job["state"], job["done"]) == ("succeeded", 36)
    body = client.get(TOPICS).json()
    assert (body["active_version"], body["options"]["head"]) == (2, "prototypes")
    assert {"name": "food", "description": "to eat"} in body["labels"]


def test_a_text_may_have_several_labels(client: TestClient) -> None:
    pairs = zip(sentences("animals", 24), sentences("food", 24), strict=True)
    both = [{"text": f"{one} {other}", "labels": ["animals", "food"]} for one, other in pairs]
    none = [{"text": f"nothing at all {i}", "labels": []} for i in range(12)]
    train(client, examples=examples() + both + none, options={"multi_label": True})
    results = classify(client, "cat dog paw toast soup rice", "bank loan cash")
    assert set(results[0]["labels"]) == {"animals", "food"}
    assert results[1]["labels"] == ["money"]
    assert client.get(TOPICS).json()["versions"][0]["multi_label"] is True


def test_the_report_and_its_plots(client: TestClient) -> None:
    train(client, examples=examples(30))
    report = client.get(f"{TOPICS}/report").json()
    assert report["examples"] == 90
    assert report["accuracy"] > 0.9
    assert {row["label"] for row in report["classes"]} == {"animals", "money", "food"}
    assert "cross-validation" in report["split"]["method"]
    for plot in ("confusion", "calibration", "learning_curve"):
        answer = client.get(f"{TOPICS}/report/{plot}.png", params={"version": 1})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.content.startswith(b"\x89PNG")
    assert client.get(f"{TOPICS}/report/roc.png").status_code == 404


def add_documents(client: TestClient, path: str, texts: list[str], start: int = 0, **metadata: Any) -> None:
    documents = [{"id": f"d{start + i}", "text": text, "metadata": metadata} for i, text in enumerate(texts)]
    answer = client.post(f"{path}/documents?wait=true", json={"documents": documents})
    assert answer.status_code == 200, answer.text


def test_suggestions_are_documents_that_are_no_examples(client: TestClient, news: str) -> None:
    train(client)
    unsure = "cat bank market dog"
    add_documents(client, news, [*sentences("animals"), unsure])
    answer = client.get(f"{TOPICS}/suggest", params={"collection": "news", "k": 3})
    assert answer.status_code == 200, answer.text
    suggested = answer.json()["suggestions"]
    assert suggested[0]["id"] == "d12"
    assert suggested[0]["text"] == unsure
    assert set(suggested[0]) >= {"label", "probability", "uncertainty", "density", "score"}


def test_a_collection_is_labelled_and_can_be_filtered_by_it(client: TestClient, news: str) -> None:

    train(client)
    add_documents(client, news, sentences("animals", 4) + sentences("money", 4), year=2026)
    body = {"classifier": "topics", "write_to": "topic", "on_arrival": True}
    job = finished(client, client.post(f"{news}/classify", json=body))
    assert (job["kind"], job["state"], job["done"]) == ("label", "succeeded", 8)
    labelled = {"field": "topic", "eq": "money"}
    seen = client.post(
        f"{news}/search", json={"query": "bank", "filter": labelled, "min_seq": job["seq"]}
    ).json()
    assert {hit["id"] for hit in seen["hits"]} == {"d4", "d5", "d6", "d7"}
    assert job["seq"] == client.get(news).json()["index"]["seq"] > 1
    document = client.get(f"{news}/documents/d5").json()
    assert document["metadata"]["topic"] == "money"
    assert 0 < document["metadata"]["topic_confidence"] <= 1
    assert document["metadata"]["year"] == 2026
    add_documents(client, news, ["soup rice spoon toast"], start=8)
    searched = client.post(
        f"{news}/search",
        json={"query": "bank", "filter": {"field": "topic", "eq": "money"}, "facets": ["topic"]},
    ).json()
    assert {hit["id"] for hit in searched["hits"]} == {"d4", "d5", "d6", "d7"}
    arrived = client.get(f"{news}/documents/d8").json()["metadata"]
    assert arrived["topic"] == "food"
    assert client.get(f"{news}/classify").json() == {"rules": [{"classifier": "topics", "write_to": "topic"}]}
    assert client.delete(f"{news}/classify/topic").status_code == 204
    assert client.get(f"{news}/classify").json() == {"rules": []}


def test_it_can_be_trained_on_the_labels_of_a_collection(client: TestClient, news: str) -> None:
    for i, label in enumerate(("animals", "money", "food")):
        add_documents(client, news, sentences(label), start=100 * i, kind=label)
    job = train(client, from_collection={"collection": "news", "label_field": "kind"})
    assert job["done"] == 36
    assert [result["label"] for result in classify(client, *NEW)] == ["animals", "money", "food"]
    assert client.get(TOPICS).json()["from_collection"] == {"collection": "news", "label_field": "kind"}


def test_a_training_on_a_collection_that_fails_leaves_the_classifier_as_it_was(
    client: TestClient, news: str
) -> None:
    train(client)
    add_documents(client, news, sentences("food"), kind="food")
    sent = {"from_collection": {"collection": "news", "label_field": "kind"}}
    job = finished(client, client.put(TOPICS, json=sent))
    assert job["state"] == "failed"
    assert "have the same label" in job["errors"][0]["reason"]
    told = client.get(TOPICS).json()
    assert (told["examples"], told["from_collection"], told["active_version"]) == (36, None, 1)
    changed = {"examples": [{"text": text, "label": "weather"} for text in sentences("weather")]}
    version = client.post(f"{TOPICS}/examples", json=changed).json()["version"]
    assert (version["examples"], set(version["labels"])) == (48, {*WORDS, "weather"})


def test_examples_sent_while_a_training_goes_on_are_in_its_version_when_it_ends(client: TestClient) -> None:
    job = client.put(TOPICS, json={"examples": examples()})
    changed = {"examples": [{"text": text, "label": "weather"} for text in sentences("weather")]}
    answer = client.post(f"{TOPICS}/examples", json=changed)
    assert answer.status_code in (200, 202)  # 200 if the training was over already
    assert finished(client, job)["state"] == "succeeded"
    newest = client.get(TOPICS).json()["versions"][0]
    assert (newest["examples"], set(newest["labels"])) == (48, {*WORDS, "weather"})
    assert classify(client, "storm cloud snow")[0]["label"] == "weather"


def test_a_deleted_classifier_is_gone(client: TestClient) -> None:
    train(client)
    assert client.delete(TOPICS).status_code == 204
    assert client.get(TOPICS).status_code == 404
    assert client.post("/v1/classify", json={"texts": NEW, "classifier": "topics"}).status_code == 404
