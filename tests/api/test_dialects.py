"""Dialects other tools speak: their clients, unmodified, and their error shapes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from starlette.testclient import TestClient

from cognate.server import ServerThread, bind, make_app, url_of
from cognate.settings import Settings
from core.services import Services
from tests.fakes import DIM


@pytest.fixture
def url(services: Services, settings: Settings) -> Iterator[str]:
    """Of the service on a real socket."""
    listener = bind(Settings(port=0))
    server = ServerThread(make_app(services, settings), listener)
    server.start()
    yield url_of(listener)
    server.stop()


@pytest.fixture
def client_of_openai(url: str) -> Iterator[openai.OpenAI]:
    """The official client on a real socket."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_official_client_gets_unit_vectors_in_order(client_of_openai: openai.OpenAI) -> None:
    texts = ["the cat", "the dog", "the cat"]
    answer = client_of_openai.embeddings.create(model="fake", input=texts)
    vectors = np.array([item.embedding for item in answer.data])
    assert vectors.shape == (3, DIM)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 12


def test_floats_and_base64_are_the_same_numbers(client_of_openai: openai.OpenAI) -> None:
    floats = client_of_openai.embeddings.create(model="fake", input="a cat", encoding_format="float")
    packed = client_of_openai.embeddings.create(model="fake", input="a cat", encoding_format="base64")
    raw: Any = packed.data[0].embedding
    unpacked = np.frombuffer(base64.b64decode(raw), "<f4") if isinstance(raw, str) else np.array(raw, "<f4")
    assert np.array_equal(np.array(floats.data[0].embedding, "<f4"), unpacked)


def test_fewer_dimensions_are_the_first_ones_made_unit_length(client_of_openai: openai.OpenAI) -> None:
    whole = np.array(client_of_openai.embeddings.create(model="fake", input="a cat").data[0].embedding)
    short = np.array(
        client_of_openai.embeddings.create(model="fake", input="a cat", dimensions=16).data[0].embedding
    )
    assert np.allclose(short, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-6)


def test_token_ids_give_what_their_text_gives(client_of_openai: openai.OpenAI, services: Services) -> None:
    ids = services.embed.encoder.tokenize(["a cat"])[0].tolist()
    by_text = client_of_openai.embeddings.create(model="fake", input="a cat").data[0].embedding
    by_ids = client_of_openai.embeddings.create(model="fake", input=ids).data[0].embedding
    (by_list,) = client_of_openai.embeddings.create(model="fake", input=[ids]).data
    assert by_text == by_ids == by_list.embedding


def test_two_thousand_inputs_are_taken_in_one_call(client_of_openai: openai.OpenAI) -> None:
    answer = client_of_openai.embeddings.create(model="fake", input=[f"text {i}" for i in range(2048)])
    assert len(answer.data) == 2048
    with pytest.raises(openai.BadRequestError, match="2,048"):
        client_of_openai.embeddings.create(model="fake", input=["x"] * 2049)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"input": ""}, "empty string"),
        ({"input": []}, "0 inputs"),
        ({"input": ["ok", ""]}, "Input 1 is an empty string"),
        ({"input": "x", "dimensions": 0}, "dimensions is 0"),
        ({"input": "x", "dimensions": DIM + 1}, f"1 to {DIM}"),
        ({"input": [[]]}, "empty list"),
        ({"input": [5_000_000]}, "token id outside"),
        ({"input": [-1]}, "token id outside"),
        ({"input": "word " * 300}, "302 tokens"),
        ({"input": "a\x00"}, "NUL"),
        ({"input": 5}, "input"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "extra_body": {"typo": 1}}, "typo"),
    ],
)
def test_bad_embedding_requests_are_bad_requests(
    client_of_openai: openai.OpenAI, arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client_of_openai.embeddings.create(model="fake", **arguments)
    assert reason in error.value.message
    body: Any = error.value.body
    assert set(body) == {"message", "type", "param", "code"}
    assert body["type"] == "invalid_request_error"


@pytest.mark.parametrize("text", ["😀 👩‍👩‍👧", "مرحبا بالعالم", "\u202eשלום", "x" * 1024**2])
def test_texts_that_no_one_expects_are_embedded_by_both_dialects(client: TestClient, text: str) -> None:
    by_openai = client.post("/v1/embeddings", json={"model": "fake", "input": text})
    by_tei = client.post("/embed", json={"inputs": text})
    assert (by_openai.status_code, by_tei.status_code) == (200, 200)
    assert by_openai.json()["data"][0]["embedding"] == by_tei.json()[0]


def test_more_than_a_mebibyte_is_refused_with_the_limit(client: TestClient) -> None:
    text = "x" * (1024**2 + 1)
    by_openai = client.post("/v1/embeddings", json={"model": "fake", "input": text})
    by_tei = client.post("/embed", json={"inputs": text, "truncate": True})
    assert (by_openai.status_code, by_tei.status_code) == (400, 413)
    assert "1,048,576" in by_openai.json()["error"]["message"]
    assert "1,048,576" in by_tei.json()["error"]


def test_models_are_listed_and_an_unknown_one_is_not_found(client_of_openai: openai.OpenAI) -> None:
    assert [model.id for model in client_of_openai.models.list()] == ["fake", "fake-rerank", "fake-generator"]
    assert client_of_openai.models.retrieve("fake").owned_by == "cognate"
    for call in (
        lambda: client_of_openai.models.retrieve("gpt"),
        lambda: client_of_openai.embeddings.create(model="gpt", input="x"),
    ):
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            call()


def test_broken_json_is_answered_in_the_shape_of_the_dialect(client: TestClient) -> None:
    json_header = {"Content-Type": "application/json"}
    openai_answer = client.post("/v1/embeddings", content=b"{", headers=json_header)
    assert (openai_answer.status_code, set(openai_answer.json())) == (400, {"error"})
    tei_answer = client.post("/embed", content=b"{", headers=json_header)
    assert set(tei_answer.json()) == {"error", "error_type"}


def test_tei_embed_takes_one_text_or_many(client: TestClient) -> None:
    (one,) = client.post("/embed", json={"inputs": "a cat"}).json()
    many = client.post("/embed", json={"inputs": ["a cat", "a dog"]}).json()
    assert many[0] == one
    assert len(many) == 2


@pytest.mark.parametrize(
    ("path", "body", "option"),
    [
        ("/embed", {"inputs": "a cat"}, "truncate"),
        ("/rerank", {"query": "cat", "texts": ["a cat"]}, "truncate"),
        ("/v1/embeddings", {"input": "a cat", "model": "fake"}, "encoding_format"),
    ],
)
def test_an_option_that_is_null_is_one_that_is_left_out(
    client: TestClient, services: Services, path: str, body: dict[str, Any], option: str
) -> None:
    body = body | ({"model": services.encoder.info.id} if "model" in body else {})
    left_out = client.post(path, json=body)
    assert left_out.status_code == 200
    assert client.post(path, json={**body, option: None}).content == left_out.content


def test_tei_truncates_only_when_asked_and_says_what(client: TestClient) -> None:
    long = "word " * 300
    refused = client.post("/embed", json={"inputs": ["x", long]})
    assert refused.status_code == 413
    assert "Input 1 has 302 tokens" in refused.json()["error"]
    cut = client.post("/embed", json={"inputs": ["x", long], "truncate": True})
    assert cut.status_code == 200
    assert cut.headers["x-truncated-inputs"] == "1"
    assert client.get("/info").json()["max_input_length"] == 256


def test_the_client_of_huggingface_gets_embeddings_with_all_that_it_can_ask_for(url: str) -> None:
    client = InferenceClient(model=f"{url}/embed")
    vectors = client.feature_extraction(["a cat", "word " * 300], truncate=True, truncation_direction="right")
    assert vectors.shape == (2, DIM)
    short = client.feature_extraction("a cat", normalize=True, dimensions=16)
    assert np.allclose(short[0], vectors[0, :16] / np.linalg.norm(vectors[0, :16]), atol=1e-6)


def test_the_client_of_huggingface_is_given_the_server_alone_or_compares_sentences(url: str) -> None:
    vectors = InferenceClient(model=url).feature_extraction(["a cat", "a dog"])
    assert vectors.shape == (2, DIM)
    found = InferenceClient(model=f"{url}/similarity").sentence_similarity("a cat", ["a cat", "a dog"])
    assert np.allclose(found, [1, vectors[0] @ vectors[1]], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"inputs": {"source_sentence": "a", "sentences": []}}, 422, "at least 1 must be sent"),
        ({"inputs": {"source_sentence": "", "sentences": ["a"]}}, 422, "Input 0 is an empty string"),
        (
            {"inputs": {"source_sentence": "a", "sentences": ["b", "word " * 300]}},
            413,
            "Input 2 has 302 tokens",
        ),
        ({"inputs": {"source_sentence": "a", "sentences": ["b"] * 2048}}, 422, "2,048 items"),
        ({"inputs": ["a", "b"]}, 422, "must be an object"),
        ({"inputs": {"sentences": ["a"]}}, 422, "source_sentence: is missing"),
    ],
)
def test_bad_comparisons_are_refused_in_the_shape_of_the_dialect(
    client: TestClient, body: object, status: int, told: str
) -> None:
    answer = client.post("/similarity", json=body)
    assert answer.status_code == status
    assert told in answer.json()["error"]


def test_sentences_that_are_too_long_are_compared_by_their_start_when_asked(client: TestClient) -> None:
    inputs = {"source_sentence": "word", "sentences": ["word " * 300]}
    answer = client.post("/similarity", json={"inputs": inputs, "parameters": {"truncate": True}})
    assert (answer.status_code, answer.headers["x-truncated-inputs"]) == (200, "1")


def test_tei_info_says_what_the_model_does(client: TestClient) -> None:
    info = client.get("/info").json()
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (info["model_id"], info["auto_truncate"], info["max_client_batch_size"]) == ("fake", False, 2048)
    assert (info["model_dtype"], info["max_batch_tokens"]) == ("int8", 512)


def test_tei_info_has_all_that_typed_clients_expect(client: TestClient) -> None:
    info = client.get("/info").json()
    for field in ("model_id", "model_sha", "model_dtype", "served_model_name", "version"):
        assert isinstance(info[field], str)
    for field in ("concurrent_requests", "input_length", "batch_tokens", "client_batch_size"):
        assert info[f"max_{field}"] > 0
    assert info["tokenization_workers"] > 0
    assert [info[field] for field in ("max_batch_requests", "sha", "docker_label")] == [None] * 3


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": []},
        {"inputs": [1.5]},
        {"inputs": "x", "truncated": True},
        {"inputs": "x", "normalize": False},
        {"inputs": "x", "truncation_direction": "Left"},
        {"inputs": "x", "prompt_name": "query"},
    ],
)
def test_bad_tei_requests_are_validation_errors(client: TestClient, body: object) -> None:
    answer = client.post("/embed", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "Validation"
