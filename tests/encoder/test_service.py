"""The encoder as a whole: converted base against sentence-transformers, shipped weights against torch."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from benchmarks.encode import stdlib_docstrings
from core.errors import CheckpointError, InvalidInput, Unavailable
from core.ports.models import Encoder
from core.types import Float32, Lane, PassageText
from encoder.backends.base import Backend
from encoder.checkpoint import load_checkpoint, load_reference
from encoder.convert_minilm import REFERENCE_TEXTS, convert, source_folder
from encoder.engine import EngineSettings
from encoder.service import EncoderService, load_encoder, shipped_model
from tests.encoder.fakes import WAIT_S

pytestmark = pytest.mark.integration

READ_BY_PEER = 256  # tokens of a text


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """200 docstrings of the standard library, from one sentence to several pages."""
    return [passage.text for passage in islice(stdlib_docstrings(), 200)]


@pytest.fixture(scope="module")
def reference(texts: list[str]) -> Float32:
    peer = SentenceTransformer(str(source_folder()), device="cpu")
    vectors: Float32 = peer.encode(texts, show_progress_bar=False)
    return vectors


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base model in our format, which training starts from."""
    folder = tmp_path_factory.mktemp("converted")
    convert(source_folder(), folder)
    return folder


@pytest.fixture(scope="module")
def encoder() -> Iterator[EncoderService]:
    encoder = load_encoder(precision="f32")
    yield encoder
    encoder.close()


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_float32_vectors_of_the_converted_base_equal_those_of_sentence_transformers(
    backend: str, converted: Path, texts: list[str], reference: Float32
) -> None:
    encoder = load_encoder(converted, backend=backend, precision="f32", max_tokens=READ_BY_PEER)
    vectors = encoder.encode_passages([PassageText("", text) for text in texts])
    encoder.close()
    assert encoder.parity is not None
    assert encoder.parity >= 0.9999
    assert (vectors * reference).sum(1).min() >= 0.9999


def test_bfloat16_vectors_of_the_converted_base_are_close_to_those_of_sentence_transformers(
    converted: Path, texts: list[str], reference: Float32
) -> None:
    encoder = load_encoder(converted, precision="bf16", max_tokens=READ_BY_PEER)
    vectors = encoder.encode_passages([PassageText("", text) for text in texts])
    encoder.close()
    assert (vectors * reference).sum(1).mean() >= 0.999


def test_the_shipped_weights_give_the_vectors_of_the_torch_reference_on_openvino(
    encoder: EncoderService, texts: list[str]
) -> None:
    passages = [PassageText("", text) for text in texts[:60]]
    torch_encoder = load_encoder(backend="torch")
    expected = torch_encoder.encode_passages(passages)
    assert torch_encoder.parity == pytest.approx(1, abs=1e-5)
    torch_encoder.close()
    assert (encoder.encode_passages(passages) * expected).sum(1).min() >= 0.9999
    assert encoder.parity is not None
    assert encoder.parity >= 0.9999


def test_int8_vectors_are_close_to_those_of_the_torch_reference(texts: list[str]) -> None:
    passages = [PassageText("", text) for text in texts]
    reference = load_encoder(backend="torch")
    expected = reference.encode_passages(passages)
    reference.close()
    encoder = load_encoder(precision="int8")
    cosines = (encoder.encode_passages(passages) * expected).sum(1)
    encoder.close()
    assert cosines.mean() >= 0.995
    assert cosines.min() >= 0.98


def test_int8_is_refused_for_weights_it_was_not_calibrated_with(tmp_path: Path) -> None:
    folder = shutil.copytree(shipped_model(), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.5.output.dense.bias"] += 1e-3
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"run 'python -m encoder\.calibrate"):
        load_encoder(folder, precision="int8")


def test_the_service_is_what_the_use_cases_ask_for(encoder: EncoderService) -> None:
    port: Encoder = encoder
    assert (port.info.id, port.info.dim, port.info.max_tokens) == ("cognate-small", 384, 512)
    assert len(port.info.fingerprint) == 64
    assert [spans.tolist() for spans in port.token_spans(["hello world", ""])] == [[[0, 5], [6, 11]], []]


def test_rows_are_unit_vectors_in_the_order_of_the_texts(encoder: EncoderService, texts: list[str]) -> None:
    vectors = encoder.encode_queries(texts[:40])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for i in (0, 17, 39):
        np.testing.assert_allclose(encoder.encode_queries([texts[i]])[0], vectors[i], atol=1e-4)


def test_no_texts_and_empty_texts_have_vectors_too(encoder: EncoderService) -> None:
    assert encoder.encode_queries([]).shape == (0, 384)
    assert encoder.encode_passages([]).shape == (0, 384)
    assert np.isfinite(encoder.encode_passages([PassageText("", ""), PassageText("", "\0")])).all()


@pytest.mark.parametrize(
    "text",
    [
        "😀 👩‍👩‍👧 🏳️‍🌈",
        "مرحبا بالعالم",
        "\u202eשלום עולם",
        "x" * 1_000_000,
        "a " * 500_000,
        "\u200b",
        "\ud800",
    ],
)
def test_texts_that_no_one_expects_have_unit_vectors_and_parts_that_add_up(
    encoder: EncoderService, text: str
) -> None:
    passage = PassageText("", text)
    (vector,) = encoder.encode_passages([passage])
    (parts,) = encoder.passage_parts([passage])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(parts.vectors.sum(axis=0), vector, atol=1e-5)
    assert all(0 <= token.start <= token.end <= len(text) for token in parts.tokens)
    assert parts.is_truncated == text.startswith("a a")


def test_an_explanation_adds_up_to_the_score_whatever_the_passage_was_encoded_with(
    encoder: EncoderService, texts: list[str]
) -> None:
    passages = [PassageText("", text) for text in texts[:48]]
    scores = encoder.encode_passages(passages) @ encoder.encode_queries(["how to open a file"])[0]
    query = encoder.query_parts("how to open a file").vectors
    in_company = encoder.passage_parts(passages)
    for i in (0, 13, 29, 47):
        (alone,) = encoder.passage_parts([passages[i]])
        np.testing.assert_array_equal(alone.vectors, in_company[i].vectors)
        assert float((query @ alone.vectors.T).sum()) == pytest.approx(float(scores[i]), abs=1e-4)


def test_states_are_the_same_in_both_lanes_and_those_of_the_bulk_lane_wait_for_no_batch(
    encoder: EncoderService,
) -> None:
    (ids,) = encoder.tokenize(["A cat sat on the old mat."])
    entered, may_go = threading.Event(), threading.Event()

    def hold(backend: Backend) -> bool:
        entered.set()
        return may_go.wait(WAIT_S)

    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(encoder._engine.run, hold)
        assert entered.wait(WAIT_S)
        of_bulk = pool.submit(encoder.states, ids, Lane.BULK).result(WAIT_S)
        may_go.set()
        assert busy.result(WAIT_S)
    of_searches = encoder.states(ids)
    assert of_bulk.shape == of_searches.shape == (len(ids), encoder.info.dim)
    cosines = (of_bulk * of_searches).sum(1) / (
        np.linalg.norm(of_bulk, axis=1) * np.linalg.norm(of_searches, axis=1)
    )
    assert cosines.min() > 0.999


def test_a_title_changes_a_passage(encoder: EncoderService) -> None:
    with_title, joined, without = encoder.encode_passages(
        [PassageText("Cooking", "rice"), PassageText("", "Cooking rice"), PassageText("", "rice")]
    )
    assert with_title @ joined > 0.9999
    assert with_title @ without < 0.99


def test_more_texts_than_one_slice_keep_their_order(encoder: EncoderService) -> None:
    words = [f"number {i}" for i in range(1100)]
    vectors = encoder.encode_queries(words, Lane.BULK)
    assert vectors.shape == (1100, 384)
    for i in (0, 511, 512, 1099):
        assert encoder.encode_queries([words[i]])[0] @ vectors[i] > 0.9999


def test_a_call_of_more_than_the_interactive_lane_holds_is_answered() -> None:
    limits = EngineSettings(max_waiting_interactive_tokens=2000)
    encoder = load_encoder(backend="torch", settings=limits)
    words = [f"{i}" for i in range(1100)]
    vectors = encoder.encode_queries(words, Lane.INTERACTIVE)
    assert vectors.shape == (1100, 384)
    for i in (0, 255, 256, 1099):
        assert encoder.encode_queries([words[i]])[0] @ vectors[i] > 0.9999
    encoder.close()


def test_many_callers_get_what_they_would_get_alone(encoder: EncoderService, texts: list[str]) -> None:
    alone = encoder.encode_queries(texts[:32], Lane.BULK)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: encoder.encode_queries([text])[0], texts[:32]))
    np.testing.assert_allclose(np.stack(together), alone, atol=1e-4)


def test_what_is_not_a_string_is_refused_and_harms_no_one(encoder: EncoderService) -> None:
    with pytest.raises(InvalidInput):
        encoder.encode_queries(["fine", None])  # type: ignore[list-item]  # what a careless caller does
    assert encoder.encode_queries(["fine"]).shape == (1, 384)


def test_a_closed_encoder_says_so() -> None:
    encoder = load_encoder(backend="torch")
    encoder.close()
    with pytest.raises(Unavailable):
        encoder.encode_queries(["late"])


def test_a_shorter_input_can_be_chosen_and_is_another_encoder(encoder: EncoderService) -> None:
    shorter = load_encoder(precision="f32", max_tokens=256)
    start, end = "one two " * 127, "and now for something completely different " * 30
    assert shorter.info.max_tokens == 256
    assert shorter.info.fingerprint != encoder.info.fingerprint
    assert shorter.parity == pytest.approx(encoder.parity, abs=1e-6)
    cut, whole = (one.encode_queries([start + end])[0] for one in (shorter, encoder))
    assert cut == pytest.approx(encoder.encode_queries([start])[0], abs=1e-5)
    assert whole @ encoder.encode_queries([end])[0] > cut @ encoder.encode_queries([end])[0] + 0.1
    shorter.close()


def test_weights_that_do_not_belong_to_their_reference_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(shipped_model(), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.5.output.dense.weight"] *= -1
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="mean cosine to its reference"):
        load_encoder(folder)


def test_a_model_that_does_not_normalise_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(shipped_model(), tmp_path / "model")
    raw = json.loads((folder / "config.json").read_text())
    raw["cognate"]["normalize"] = False
    (folder / "config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="normalised"):
        load_encoder(folder)


def test_the_shipped_folder_is_of_the_same_shape_as_the_converted_base(converted: Path) -> None:
    base, shipped = load_checkpoint(converted), load_checkpoint(shipped_model())
    assert shipped.config == base.config
    assert shipped.tokenizer_json == base.tokenizer_json
    assert {n: w.shape for n, w in shipped.weights.items()} == {n: w.shape for n, w in base.weights.items()}
    reference = load_reference(shipped_model())
    assert reference is not None
    assert reference.texts == REFERENCE_TEXTS


def test_the_conversion_only_rounds_the_weights(converted: Path) -> None:
    ours, source = load_checkpoint(converted).weights, load_checkpoint(source_folder()).weights
    for name, array in source.items():
        np.testing.assert_array_equal(ours[name], array.astype(np.float16).astype(np.float32))


def test_the_conversion_refuses_other_weights(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="expected 53aa5117"):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
