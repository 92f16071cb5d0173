"""An embedding is exactly the sum of its tokens' parts, for every pooling that is a sum."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.errors import InvalidInput, Unavailable
from core.token_types import TokenField
from core.types import Lane, PassageText
from encoder.backends.openvino_backend import OpenVinoBackend, Precision
from encoder.bert import bert_from_weights
from encoder.config import Pooling
from encoder.engine import Engine
from encoder.parts import splitter
from encoder.service import load_encoder
from tests.encoder.fakes import POISON, WAIT_S, FakeBackend, random_weights, tiny_config

TITLE = "Feline résumé"
TEXT = "The cat’s 3 unbelievably sleepy kittens 😀 sat down."


@pytest.mark.parametrize("pooling", [Pooling.CLASS_ATTENTION, Pooling.MEAN])
def test_parts_add_up_to_the_embedding_of_the_reference(pooling: Pooling) -> None:
    import torch

    config = tiny_config(pooling=pooling)
    weights = random_weights(config, seed=3)
    model = bert_from_weights(config, weights)
    ids = torch.arange(1, 10)[None]
    is_text = torch.ones_like(ids, dtype=torch.bool)
    with torch.inference_mode():
        states, expected = model.states(ids, is_text)[0].numpy(), model(ids, is_text)[0].numpy()
    parts = splitter(config, weights)(states)
    assert parts.shape == (9, config.d)
    assert np.allclose(parts.sum(axis=0), expected, atol=1e-6)


def test_the_state_of_cls_alone_cannot_be_split() -> None:
    config = tiny_config(pooling=Pooling.CLS)
    with pytest.raises(InvalidInput, match="not available"):
        splitter(config, random_weights(config, seed=1))(np.ones((3, config.d), np.float32))


def test_the_openvino_graph_gives_the_states_its_embedding_is_made_of() -> None:
    config = tiny_config(pooling=Pooling.CLASS_ATTENTION)
    weights = random_weights(config, seed=5)
    backend = OpenVinoBackend(config, weights, Precision.F32)
    ids, lengths = np.array([[3, 4, 5, 6, 0, 0]], np.int32), np.array([4], np.int32)
    parts = splitter(config, weights)(backend.states(ids, lengths)[0, :4])
    assert np.allclose(parts.sum(axis=0), backend.forward(ids, lengths)[0], atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("precision", ["f32", "bf16", "int8"])
def test_parts_of_the_shipped_model_add_up_and_know_their_places(precision: str) -> None:
    encoder = load_encoder(precision=precision)
    passage = PassageText(TITLE, TEXT)
    (parts,) = encoder.passage_parts([passage])
    (vector,) = encoder.encode_passages([passage])
    tolerance = 1e-5 if precision == "f32" else 2e-2
    assert np.allclose(parts.vectors.sum(axis=0), vector, atol=tolerance)
    assert abs(np.linalg.norm(parts.vectors.sum(axis=0)) - 1) < 1e-5
    for token in parts.tokens:
        source = {TokenField.TITLE: TITLE, TokenField.TEXT: TEXT}.get(token.field)
        assert source is None or source[token.start : token.end] == token.text
    start = TEXT.index("unbelievably")
    inside = [
        word
        for word, token in zip(parts.words, parts.tokens, strict=True)
        if token.field is TokenField.TEXT and start <= token.start < start + len("unbelievably")
    ]
    assert len(inside) > 1, "the word is of several tokens"
    assert len(set(inside)) == 1
    assert [t.field for t in (parts.tokens[0], parts.tokens[1], parts.tokens[-1])] == [
        TokenField.SPECIAL,
        TokenField.TITLE,
        TokenField.SPECIAL,
    ]
    encoder.close()


def test_an_errand_runs_on_the_engines_thread_between_batches() -> None:
    engine = Engine(FakeBackend(), d=2)
    names = [engine.run(lambda backend: threading.current_thread().name) for _ in range(3)]
    assert names == ["encoder-engine"] * 3
    assert engine.encode([np.array([7, 7], np.int32)], Lane.BULK).tolist() == [[7.0, 2.0]]
    engine.close()


def test_a_search_has_its_turn_after_one_errand_however_many_wait() -> None:
    backend = FakeBackend(is_open=False)
    engine = Engine(backend, d=2)
    engine.submit([np.array([99], np.int32)], Lane.BULK)
    backend.await_batch()  # the engine is busy, so that what follows waits together
    with ThreadPoolExecutor(3) as pool:
        errands = [pool.submit(engine.run, lambda _: len(backend.batches)) for _ in range(3)]
        while len(engine._errands) < 3:
            threading.Event().wait(0.001)
        search = engine.submit([np.array([1], np.int32)], Lane.INTERACTIVE)
        backend.release(2)
        assert search.result(WAIT_S).tolist() == [[1.0, 1.0]]
        batches_before = sorted(errand.result(WAIT_S) for errand in errands)
    assert batches_before == [1, 2, 2]
    engine.close()


def test_an_errand_that_fails_fails_for_its_caller_only() -> None:
    engine = Engine(FakeBackend(), d=2)
    with pytest.raises(ValueError, match="poisoned"):
        engine.run(lambda backend: backend.states(np.array([[POISON]], np.int32), np.array([1], np.int32)))
    assert engine.run(lambda backend: 5) == 5
    engine.close()


def test_a_closed_engine_runs_no_errands() -> None:
    engine = Engine(FakeBackend(), d=2)
    engine.close()
    with pytest.raises(Unavailable):
        engine.run(lambda backend: 5)
