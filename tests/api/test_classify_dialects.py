"""Classification in the dialects of Cohere (its client unmodified), text-embeddings-inference and vLLM."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import cohere
import numpy as np
import pytest
from cohere import ClassifyExample
from cohere.core.api_error import ApiError
from starlette.testclient import TestClient

from cognate.server import ServerThread, bind, make_app, url_of
from cognate.settings import Settings
from core.services import Services
from tests.api.classifying import WORDS, examples, served_classifier, train

INPUTS = ["cat paw fur", "bank cash price"]
LONG = "cat " * 400


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with served_classifier(tmp_path_factory.mktemp("served")) as client:
        yield client


def shots(count: int = 2) -> list[ClassifyExample]:
    return [ClassifyExample(text=one["text"], label=one["label"]) for one in examples(count)]


@pytest.fixture
def official(services: Services, settings: Settings) -> Iterator[cohere.Client]:
    """Cohere's client on a real socket."""
    listener = bind(Settings(port=0))
    server = ServerThread(make_app(services, settings), listener)
    server.start()
    with cohere.Client("none", base_url=url_of(listener), timeout=60) as client:
        yield client
    server.stop()


def test_coheres_client_classifies_by_examples(official: cohere.Client) -> None:
    answer = official.classify(inputs=INPUTS, examples=shots())
    assert [item.prediction for item in answer.classifications] == ["animals", "money"]
    assert [item.input for item in answer.classifications] == INPUTS
    assert len({item.id for item in answer.classifications}) == 2
    for item in answer.classifications:
        confidences = {label: value.confidence for label, value in item.labels.items()}
        assert set(confidences) == set(WORDS)
        assert sum(value or 0 for value in confidences.values()) == pytest.approx(1, abs=1e-5)
        assert item.confidence == max(value or 0 for value in confidences.values())
        assert (item.predictions, item.confidences) == ([item.prediction], [item.confidence])
        assert item.classification_type == "single-label"
    assert answer.meta is not None
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.classifications == 2


def test_coheres_client_gets_the_same_twice_for_the_same_examples(official: cohere.Client) -> None:
    first, again = (official.classify(inputs=INPUTS, examples=shots(5)) for _ in range(2))
    assert [item.labels for item in first.classifications] == [item.labels for item in again.classifications]


def test_one_example_a_label_is_enough_for_cohere(official: cohere.Client) -> None:
    answer = official.classify(inputs=INPUTS, examples=shots(1), truncate="END")
    assert {item.prediction for item in answer.classifications} <= set(WORDS)


def test_coheres_client_uses_a_trained_classifier_as_model(
    official: cohere.Client, client: TestClient
) -> None:
    train(client)
    answer = official.classify(inputs=INPUTS, model="topics")
    assert [item.prediction for item in answer.classifications] == ["animals", "money"]


def test_several_labels_in_coheres_shape(official: cohere.Client, client: TestClient) -> None:
    train(client, options={"multi_label": True})
    (item,) = official.classify(inputs=INPUTS[:1], model="topics").classifications
    assert (item.classification_type, item.prediction) == ("multi-label", None)
    assert item.predictions == ["animals"]
    assert item.confidences == [item.labels["animals"].confidence]


def test_cohere_is_told_which_inputs_were_cut(official: cohere.Client) -> None:
    answer = official.classify(inputs=["cat", LONG], examples=shots())
    assert answer.meta is not None
    assert answer.meta.warnings == ["Only the start was read of 1 inputs: 1."]
    with pytest.raises(cohere.BadRequestError, match="Input 1 is longer than the 256 tokens"):
        official.classify(inputs=["cat", LONG], examples=shots(), truncate="NONE")


def test_errors_reach_coheres_client(official: cohere.Client) -> None:
    calls: list[tuple[Callable[[], object], int, str]] = [
        (lambda: official.classify(inputs=[], examples=shots()), 400, "inputs is empty"),
        (lambda: official.classify(inputs=[" "], examples=shots()), 400, "empty"),
        (lambda: official.classify(inputs=INPUTS, examples=[]), 400, "0 labels"),
        (lambda: official.classify(inputs=INPUTS, examples=shots()[:2]), 400, "only the label 'animals'"),
        (lambda: official.classify(inputs=INPUTS, examples=[ClassifyExample(text="x")]), 400, "label"),
        (lambda: official.classify(inputs=INPUTS), 400, "Send examples"),
        (lambda: official.classify(inputs=INPUTS, model="none"), 404, "none"),
        (lambda: official.classify(inputs=INPUTS, examples=shots(), model="embed-v4"), 404, "embed-v4"),
        (lambda: official.classify(inputs=INPUTS, examples=shots(), preset="mine"), 400, "preset"),
        (lambda: official.classify(inputs=INPUTS, examples=shots(), truncate="START"), 400, "truncate"),
    ]
    for call, status, told in calls:
        with pytest.raises(ApiError) as error:
            call()
        assert error.value.status_code == status, error.value.body
        assert set(error.value.body) == {"message", "detail"}
        assert told in error.value.body["message"]
        assert "cohere" not in error.value.body["message"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/classify", {"inputs": ["x", " "], "model": "topics"}, "inputs[1] is empty"),
        ("/v1/classify", {"inputs": [], "model": "topics"}, "inputs is empty"),
        ("/predict", {"inputs": " "}, "inputs is empty"),
        ("/predict", {"inputs": [" "]}, "inputs[0] is empty"),
        ("/predict", {"inputs": [["x"], [""]]}, "inputs[1][0] is empty"),
        ("/classify", {"input": ""}, "input is empty"),
        ("/classify", {"input": ["x", ""]}, "input[1] is empty"),
        ("/classify", {"input": []}, "input is empty"),
        ("/v1/classify", {"inputs": ["x"] * 2049, "model": "topics"}, "inputs: has 2,049 items"),
        ("/predict", {"inputs": [["x"]] * 2049}, "inputs has 2,049 items; at most 2,048"),
        ("/classify", {"input": ["x"] * 2049}, "input has 2,049 items; at most 2,048"),
    ],
)
def test_what_is_empty_or_too_much_is_named_as_the_caller_named_it(
    served: TestClient, path: str, body: dict[str, Any], told: str
) -> None:
    answer = served.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert told in answer.text
    assert "texts" not in answer.text


@pytest.mark.parametrize(("field", "told"), [("text", "examples[2].text"), ("label", "examples[2].label")])
def test_a_bad_example_of_cohere_is_named_as_it_was_sent(served: TestClient, field: str, told: str) -> None:
    sent = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(4)]
    sent[2][field] = " "
    answer = served.post("/v1/classify", json={"inputs": ["x"], "examples": sent})
    assert answer.status_code == 400
    assert f"{told} is empty" in answer.json()["message"]


def test_one_path_two_error_shapes(client: TestClient) -> None:
    ours = client.post("/v1/classify", json={"texts": ["x"], "labels": ["a", "b"], "typo": 1})
    assert ours.headers["content-type"] == "application/problem+json"
    assert ours.json()["detail"] == "typo: is not a known field"
    theirs = client.post("/v1/classify", json={"inputs": ["x"], "typo": 1})
    assert (theirs.status_code, set(theirs.json())) == (400, {"message", "detail"})
    assert theirs.json()["message"] == "typo: is not a known field"


def test_tei_predicts_for_one_text_or_many(served: TestClient) -> None:
    one = served.post("/predict", json={"inputs": INPUTS[0]}).json()
    assert served.post("/predict", json={"inputs": INPUTS[0], "truncate": None}).json() == one
    assert one[0]["label"] == "animals"
    assert [set(row) for row in one] == [{"score", "label"}] * 3
    assert [row["score"] for row in one] == sorted((row["score"] for row in one), reverse=True)
    assert served.post("/predict", json={"inputs": [INPUTS[0]]}).json() == one
    many = served.post("/predict", json={"inputs": [[text] for text in INPUTS]}).json()
    assert np.allclose([row["score"] for row in many[0]], [row["score"] for row in one], atol=1e-6)
    assert [rows[0]["label"] for rows in many] == ["animals", "money"]


@pytest.mark.parametrize("is_multi", [False, True])
def test_raw_scores_are_logits_of_the_probabilities(client: TestClient, is_multi: bool) -> None:
    train(client, options={"multi_label": is_multi})
    raw = client.post("/predict", json={"inputs": INPUTS[0], "raw_scores": True}).json()
    plain = client.post("/predict", json={"inputs": INPUTS[0]}).json()
    logits = np.array([row["score"] for row in raw])
    back = 1 / (1 + np.exp(-logits)) if is_multi else np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(back, [row["score"] for row in plain], atol=1e-5)
    assert [row["label"] for row in raw] == [row["label"] for row in plain]


def test_which_classifier_is_meant(client: TestClient, services: Services) -> None:
    nothing = client.post("/predict", json={"inputs": "x"})
    assert (nothing.status_code, "there are: none" in nothing.json()["error"]) == (422, True)
    train(client)
    train(client, "others")
    unclear = client.post("/predict", json={"inputs": "x"})
    assert unclear.status_code == 422
    assert "others, topics" in unclear.json()["error"]
    assert client.post("/predict", json={"inputs": "x", "model": "others"}).status_code == 200
    by_settings = make_app(services, Settings(default_classifier="topics"))
    with TestClient(by_settings, "http://127.0.0.1") as other:
        assert other.post("/predict", json={"inputs": "x"}).status_code == 200
        assert other.post("/classify", json={"input": "x"}).json()["model"] == "topics"


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 422, "inputs"),
        ({"inputs": []}, 422, "send"),
        ({"inputs": ["a", "b"]}, 422, "a pair of texts"),
        ({"inputs": [["a", "b"]]}, 422, "a pair of texts"),
        ({"inputs": [[]]}, 422, "send"),
        ({"inputs": [5]}, 422, "inputs"),
        ({"inputs": " "}, 422, "empty"),
        ({"inputs": LONG}, 413, "Input 0 is longer than the 256 tokens"),
        ({"inputs": "x", "typo": 1}, 422, "not a known field"),
        ({"inputs": "x", "model": "unknown"}, 404, "unknown"),
    ],
)
def test_bad_tei_predictions_are_validation_errors(
    served: TestClient, body: dict[str, Any], status: int, told: str
) -> None:
    answer = served.post("/predict", json=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "error_type"})
    assert told in answer.json()["error"]
    assert answer.json()["error_type"] == "Validation"


def test_tei_cuts_long_texts_when_asked(served: TestClient) -> None:
    answer = served.post("/predict", json={"inputs": LONG, "truncate": True})
    assert answer.json()[0]["label"] == "animals"


def test_vllms_shape(served: TestClient) -> None:
    answer = served.post("/classify", json={"model": "topics", "input": INPUTS}).json()
    assert set(answer) == {"id", "object", "created", "model", "data", "usage"}
    assert (answer["object"], answer["model"]) == ("list", "topics")
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert [item["label"] for item in answer["data"]] == ["animals", "money"]
    labels = [one["name"] for one in served.get("/v1/classifiers/topics").json()["labels"]]
    for item in answer["data"]:
        assert (item["num_classes"], len(item["probs"])) == (3, 3)
        assert labels[int(np.argmax(item["probs"]))] == item["label"]
        assert math.fsum(item["probs"]) == pytest.approx(1, abs=1e-5)
    tokens = sum(len(text.split()) + 2 for text in INPUTS)
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]) == (tokens, tokens)
    (one,) = served.post("/classify", json={"model": "topics", "input": INPUTS[0]}).json()["data"]
    assert np.allclose(one["probs"], answer["data"][0]["probs"], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "kind", "told"),
    [
        ({"input": "x", "model": "unknown"}, 404, "NotFoundError", "unknown"),
        ({"model": "topics"}, 400, "BadRequestError", "input"),
        ({"model": "topics", "input": []}, 400, "BadRequestError", "input is empty"),
        ({"model": "topics", "input": [1, 2]}, 400, "BadRequestError", "input"),
        ({"model": "topics", "input": ""}, 400, "BadRequestError", "empty"),
        ({"model": "topics", "input": LONG}, 400, "BadRequestError", "truncate_prompt_tokens"),
        ({"model": "topics", "input": "x", "messages": []}, 400, "BadRequestError", "messages"),
    ],
)
def test_bad_vllm_requests_have_its_shape(
    served: TestClient, body: dict[str, Any], status: int, kind: str, told: str
) -> None:
    answer = served.post("/classify", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (status, status, kind)
    assert told in error["message"]


def test_vllm_cuts_long_texts_when_asked(served: TestClient) -> None:
    body = {"model": "topics", "input": LONG, "truncate_prompt_tokens": -1, "use_activation": False}
    (item,) = served.post("/classify", json=body).json()["data"]
    assert item["label"] == "animals"
    assert max(item["probs"]) <= 0


def test_classifiers_are_listed_as_models(served: TestClient) -> None:
    models = served.get("/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["fake", "fake-rerank", "topics"]
    model = served.get("/v1/models/topics").json()
    assert (model["kind"], model["version"], model["object"]) == ("classifier", 1, "model")
