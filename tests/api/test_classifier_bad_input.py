"""Bad input of trained classifiers: a clear outcome each, never a 5xx."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.types import PassageText
from tests.api.classifying import CLASSIFIERS, classify, examples, finished, served_classifier, train
from tests.api.test_bad_input import check_problem
from tests.fakes import FakeEncoder

TOPICS = f"{CLASSIFIERS}/topics"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with served_classifier(tmp_path_factory.mktemp("served")) as client:
        yield client


def put(client: TestClient, *labelled: tuple[str, str], **more: Any) -> Any:
    sent = [{"text": text, "label": label} for text, label in labelled]
    return client.put(TOPICS, json={"examples": sent} | more)


def test_one_class_only_is_refused(client: TestClient) -> None:
    answer = put(client, ("a cat", "animals"), ("a dog", "animals"))
    check_problem(answer, 422, "same label", "'animals'", "at least two")
    assert client.get(TOPICS).status_code == 404


def test_one_example_is_refused(client: TestClient) -> None:
    check_problem(put(client, ("a cat", "animals")), 422, "at least two")


def test_no_examples_are_refused(client: TestClient) -> None:
    check_problem(client.put(TOPICS, json={"examples": []}), 422)
    check_problem(client.put(TOPICS, json={}), 422, "no stored examples", "from_collection")


def test_one_example_of_a_label_is_named_in_the_report(client: TestClient) -> None:
    train(client, examples=[*examples(), {"text": "rain and wind", "label": "weather"}])
    problems = " ".join(client.get(f"{TOPICS}/report").json()["problems"])
    assert "'weather'" in problems


def test_duplicates_with_contradicting_labels_are_refused_by_name(client: TestClient) -> None:
    answer = put(client, ("a cat", "animals"), ("a bank", "money"), ("a cat", "money"))
    check_problem(answer, 422, "'a cat'", "different labels")
    assert answer.json()["errors"][0]["text"] == "a cat"


@pytest.mark.integration
def test_a_thousand_classes_train_and_one_more_is_refused(client: TestClient) -> None:
    def of(count: int) -> list[dict[str, str]]:
        return [{"text": f"word{i} {part}", "label": f"label {i}"} for i in range(count) for part in "ab"]

    train(client, examples=of(1000))
    (result,) = classify(client, "word7 a")
    assert len(result["scores"]) == 1000
    check_problem(client.put(TOPICS, json={"examples": of(1001)}), 422, "1,001 different labels", "1,000")


def test_labels_that_differ_by_case_or_spaces_are_reported_and_kept_apart(client: TestClient) -> None:
    sent = [{**one, "label": "Money "} if i % 4 == 0 else one for i, one in enumerate(examples())]
    train(client, examples=[*sent, {"text": "price of money", "label": "money"}])
    problems = " ".join(client.get(f"{TOPICS}/report").json()["problems"])
    assert "'Money '" in problems
    assert "'money'" in problems
    assert len(client.get(TOPICS).json()["labels"]) == 4
    answer = client.post(f"{TOPICS}/examples", json={"examples": [{"text": "a coin", "label": "MONEY"}]})
    assert "'MONEY'" in " ".join(answer.json()["changes"]["problems"])


@pytest.mark.parametrize("text", ["", " \n"])
def test_empty_texts_are_refused_by_their_place(client: TestClient, text: str) -> None:
    check_problem(put(client, ("a cat", "animals"), (text, "money")), 422, "examples[1].text", "empty")
    train(client)
    answer = client.post("/v1/classify", json={"texts": ["x", text], "classifier": "topics"})
    check_problem(answer, 422, "texts[1]", "empty")
    answer = client.post(f"{TOPICS}/examples", json={"examples": [{"text": text, "label": "food"}]})
    check_problem(answer, 422, "examples[0].text", "empty")


def test_more_examples_than_the_limit_are_refused(client: TestClient) -> None:
    sent = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(100_001)]
    check_problem(client.put(TOPICS, json={"examples": sent}), 422, "100,001", "100,000")


def test_an_unknown_classifier_is_not_found_everywhere(client: TestClient, news: str) -> None:
    asked = [
        client.get(TOPICS),
        client.delete(TOPICS),
        client.get(f"{TOPICS}/examples"),
        client.post(f"{TOPICS}/examples", json={"remove": ["x"]}),
        client.get(f"{TOPICS}/versions"),
        client.get(f"{TOPICS}/versions/compare", params={"first": 1, "second": 2}),
        client.post(f"{TOPICS}/versions/1/activate"),
        client.get(f"{TOPICS}/report"),
        client.get(f"{TOPICS}/report/confusion.png"),
        client.get(f"{TOPICS}/suggest", params={"collection": "news"}),
        client.post("/v1/classify", json={"texts": ["x"], "classifier": "topics"}),
        client.post(f"{news}/classify", json={"classifier": "topics", "write_to": "topic"}),
    ]
    for answer in asked:
        check_problem(answer, 404, "'topics'")


class SlowEncoder(FakeEncoder):
    """Takes a while over each text of a classifier's examples."""

    def encode_passages(self, passages: Any, *lane: Any) -> Any:
        for passage in passages:
            assert isinstance(passage, PassageText)
            if "slowly" in passage.text:
                time.sleep(0.005)
        return super().encode_passages(passages, *lane)


@pytest.fixture
def encoder() -> FakeEncoder:
    return SlowEncoder()


def slow_examples(count: int = 1500) -> list[dict[str, str]]:
    return [
        {"text": f"slowly {word} {i}", "label": label}
        for i in range(count // 2)
        for word, label in (("cat", "animals"), ("bank", "money"))
    ]


@pytest.mark.integration
def test_a_training_cancelled_half_way_leaves_the_active_version(client: TestClient) -> None:
    train(client)
    before = classify(client, "a cat")
    job = client.put(TOPICS, json={"examples": slow_examples()}).json()["job"]
    while client.get(f"/v1/jobs/{job['id']}").json()["done"] == 0:
        time.sleep(0.05)
    started = time.monotonic()
    assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    while client.put(TOPICS, json={"examples": examples()}).status_code == 409:
        assert time.monotonic() - started < 5
        time.sleep(0.05)
    assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "cancelled"
    assert classify(client, "a cat", version=1) == before


@pytest.mark.integration
def test_two_trainings_of_one_name_at_once_the_second_is_refused(client: TestClient) -> None:
    job = client.put(TOPICS, json={"examples": slow_examples(300)}).json()["job"]
    second = client.put(TOPICS, json={"examples": examples()})
    check_problem(second, 409, job["id"])
    check_problem(client.post("/v1/classify", json={"texts": ["x"], "classifier": "topics"}), 409, job["id"])
    check_problem(client.delete(TOPICS), 409, job["id"])
    while client.get(f"/v1/jobs/{job['id']}").json()["finished_at"] is None:
        time.sleep(0.05)
    assert client.get(TOPICS).json()["examples"] == 300


@pytest.mark.integration
def test_examples_that_come_during_a_training_are_taken_in_by_it(client: TestClient) -> None:
    train(client)
    first = client.put(TOPICS, json={"examples": slow_examples(300)})
    answer = client.post(f"{TOPICS}/examples", json={"examples": [{"text": "salty soup", "label": "food"}]})
    assert answer.status_code == 202, answer.text
    assert answer.json()["job"]["id"] == first.json()["job"]["id"]
    assert finished(client, first)["state"] == "succeeded"
    deadline = time.monotonic() + 10
    while "food" not in classify(client, "salty soup")[0]["scores"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"examples": "x"}, "examples"),
        ({"examples": ["x"]}, "examples[0] must be an object"),
        ({"examples": [{"text": "x"}]}, "examples[0] needs either label"),
        ({"examples": [{"text": "x", "label": "a", "labels": ["a"]}]}, "examples[0] needs either label"),
        ({"examples": [{"text": "x", "label": 5}]}, "examples[0] needs either label"),
        ({"examples": [{"text": "x", "labels": "a"}]}, "examples[0] needs either label"),
        ({"examples": [{"text": 5, "label": "a"}]}, "examples[0].text must be a string"),
        ({"examples": [{"text": "x", "label": "a", "lable": 1}]}, "'lable'"),
        ({"examples": [{"text": "a\x00", "label": "a"}]}, "NUL"),
        ({"examples": [{"text": "x", "label": ""}]}, "empty"),
        ({"examples": [{"text": "x", "labels": ["a", "b"]}], "options": {"multi_label": False}}, "2 labels"),
        ({"examples": [{"text": "x", "labels": []}]}, "no label"),
        ({"labels": ["a", "a"], "examples": []}, "more than once"),
        ({"examples": [], "from_collection": {"collection": "c", "label_field": "l"}}, "either examples"),
        ({"options": {"head": "svm"}}, "options.head"),
        ({"options": {"target_precision": 1.5}}, "options.target_precision"),
        ({"options": {"abstain_below": -1}}, "options.abstain_below"),
        ({"options": {"seed": -1}}, "options.seed"),
        ({"options": {"multi": True}}, "options.multi"),
        ({"typo": 1}, "typo"),
    ],
)
def test_bad_bodies_are_refused(client: TestClient, body: dict[str, Any], told: str) -> None:
    check_problem(client.put(TOPICS, json=body), 422, told)


@pytest.mark.parametrize("name", ["..", "a b", "x" * 65, "-a", "ä"])
def test_bad_names_are_refused(client: TestClient, name: str) -> None:
    answer = client.put(f"{CLASSIFIERS}/{name}", json={"examples": examples()})
    assert answer.status_code in (404, 405, 422), answer.text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"texts": ["x"]}, "either labels or classifier"),
        ({"texts": ["x"], "labels": ["a", "b"], "classifier": "topics"}, "either labels or classifier"),
        ({"texts": ["x"], "labels": ["a", "b"], "evidence": True}, "evidence does not go"),
        ({"texts": ["x"], "labels": ["a", "b"], "version": 1}, "version does not go"),
        ({"texts": ["x"], "classifier": "topics", "multi_label": True}, "multi_label does not go"),
        ({"texts": ["x"], "labels": ["a", "b"], "templates": ["a {} {}"]}, "templates[0]"),
        ({"texts": ["x"], "labels": ["a", {"name": "b", "phrasings": [""]}]}, "labels[1].phrasings[0]"),
        ({"texts": [], "classifier": "topics"}, "0 texts"),
        ({"texts": ["x"] * 2049, "classifier": "topics"}, "2,048"),
        ({"texts": ["x"] * 101, "classifier": "topics", "evidence": True}, "evidence"),
        ({"texts": ["x"], "classifier": "topics", "version": 0}, "version"),
    ],
)
def test_bad_classifications_are_refused(served: TestClient, body: dict[str, Any], told: str) -> None:
    check_problem(served.post("/v1/classify", json=body), 422, told)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/report?version=99", 404),
        ("GET", "/report?version=0", 422),
        ("POST", "/versions/99/activate", 404),
        ("POST", f"/versions/{2**70}/activate", 422),
        ("POST", "/versions/one/activate", 422),
        ("GET", "/versions/compare?first=1&second=99", 404),
        ("GET", "/versions/compare?first=1", 422),
        ("GET", "/examples?limit=0", 422),
        ("GET", "/examples?limit=1001", 422),
        ("GET", f"/examples?after={2**64}", 422),
        ("GET", "/suggest", 422),
        ("GET", "/suggest?collection=none", 404),
        ("GET", "/suggest?collection=news&k=0", 422),
        ("GET", "/suggest?collection=news&typo=1", 422),
    ],
)
def test_bad_questions_are_refused(served: TestClient, method: str, path: str, status: int) -> None:
    check_problem(served.request(method, TOPICS + path), status)


@pytest.mark.parametrize(
    ("collection", "body", "status"),
    [
        ("none", {"classifier": "topics", "write_to": "topic"}, 404),
        ("news", {"classifier": "topics"}, 422),
        ("news", {"classifier": "topics", "write_to": ""}, 422),
        ("news", {"classifier": "topics", "write_to": "a\x00"}, 422),
        ("news", {"classifier": "topics", "write_to": "x" * 5000}, 422),
        ("news", {"classifier": "topics", "write_to": "topic", "typo": 1}, 422),
    ],
)
def test_bad_labellings_are_refused(
    served: TestClient, collection: str, body: dict[str, Any], status: int
) -> None:
    check_problem(served.post(f"/v1/collections/{collection}/classify", json=body), status)
    check_problem(served.delete("/v1/collections/news/classify/never"), 404)


def test_a_field_that_documents_hold_is_labelled_only_when_it_may_be_hidden(served: TestClient) -> None:
    document = {"id": "held", "text": "a cat", "metadata": {"topic": "mine"}}
    served.post("/v1/collections/news/documents?wait=true", json={"documents": [document]})
    asked: dict[str, Any] = {"classifier": "topics", "write_to": "topic"}
    path = "/v1/collections/news/classify"
    check_problem(served.post(path, json=asked), 409, "'held'", "overwrite")
    job = served.post(path, json={**asked, "overwrite": True})
    assert job.status_code == 202
    finished(served, job)
    shown = "/v1/collections/news/documents/held"
    assert served.get(shown).json()["metadata"]["topic"] != "mine"
    removed = served.delete(f"{path}/topic?labels=true")
    assert removed.status_code == 202
    finished(served, removed)
    assert served.get(shown).json()["metadata"] == {"topic": "mine"}
    check_problem(served.delete(f"{path}/topic?labels=true"), 404)


def test_a_training_that_is_waited_for_serves_then(client: TestClient) -> None:
    answer = client.put(f"{TOPICS}?wait=true", json={"examples": examples()})
    assert (answer.status_code, answer.json()["job"]["state"]) == (200, "succeeded")
    assert client.post("/v1/classify", json={"classifier": "topics", "texts": ["a cat"]}).status_code == 200


def test_a_field_without_labels_is_refused_and_leaves_no_classifier(served: TestClient) -> None:
    source = {"from_collection": {"collection": "news", "label_field": "never"}}
    check_problem(served.put("/v1/classifiers/other", json=source), 422, "'never'")
    check_problem(served.get("/v1/classifiers/other"), 404)
