"""A backend under the test's control, and tiny random models."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from core.types import Float32
from encoder.backends.base import Forward, Int32
from encoder.config import ModelConfig, ModernShape, Pooling
from encoder.parameters import expected_shapes

WAIT_S = 10.0  # a test that would wait longer has failed
POISON = 666  # a token id that the fake backend refuses


class FakeBackend:
    """The vector of a text is (its first id, the number of its ids). Holds each batch until `release`d.

    `batches` lists the ids of first tokens of each batch, in the order in which they ran.
    """

    bulk_streams: tuple[Forward, ...] = ()
    bulk_states: Forward | None = None

    def __init__(self, is_open: bool = True, needs_one_thread: bool = False) -> None:
        self.needs_one_thread = needs_one_thread
        self.threads: list[str] = []
        self.batches: list[list[int]] = []
        self.sizes: list[int] = []
        self._permits = threading.Semaphore(1_000_000 if is_open else 0)
        self._entered = threading.Semaphore(0)

    def padded_length(self, tokens: int) -> int:
        return tokens

    def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
        self.batches.append(token_ids[:, 0].tolist())
        self.threads.append(threading.current_thread().name)
        self.sizes.append(token_ids.size)
        self._entered.release()
        assert self._permits.acquire(timeout=WAIT_S), "the test never released this batch"
        if (token_ids == POISON).any():
            raise ValueError("poisoned")
        return np.stack([token_ids[:, 0], lengths], axis=1).astype(np.float32)

    def states(self, token_ids: Int32, lengths: Int32) -> Float32:
        if (token_ids == POISON).any():
            raise ValueError("poisoned")
        return np.repeat(token_ids[:, :, None], 2, axis=2).astype(np.float32)

    def await_batch(self) -> None:
        """Returns once one more batch has entered the backend."""
        assert self._entered.acquire(timeout=WAIT_S), "no batch came"

    def release(self, batches: int = 1) -> None:
        self._permits.release(batches)


class StreamsBackend(FakeBackend):
    """Has bulk streams, which hold their batches until `let_go` is set; `streamed` tells stream and ids."""

    def __init__(self, streams: int) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.streamed: list[tuple[int, list[int]]] = []
        self._streaming = threading.Semaphore(0)
        self.bulk_streams = tuple(partial(self._stream, number) for number in range(streams))

    def await_streams(self, batches: int) -> None:
        """Returns once so many more batches have entered streams."""
        for _ in range(batches):
            assert self._streaming.acquire(timeout=WAIT_S), "no batch came"

    def _stream(self, number: int, token_ids: Int32, lengths: Int32) -> Float32:
        self.streamed.append((number, token_ids[:, 0].tolist()))
        self._streaming.release()
        assert self.let_go.wait(WAIT_S), "the test never let this batch go"
        if (token_ids == POISON).any():
            raise ValueError("poisoned")
        return np.stack([token_ids[:, 0], lengths], axis=1).astype(np.float32)


class FakeClock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def text_of(first: int, tokens: int = 1) -> Int32:
    """Ids of one text: `first`, then zeros."""
    ids = np.zeros(tokens, np.int32)
    ids[0] = first
    return ids


def texts_of(firsts: Sequence[int], tokens: int = 1) -> list[Int32]:
    return [text_of(first, tokens) for first in firsts]


def tiny_config(pooling: Pooling = Pooling.CLASS_ATTENTION) -> ModelConfig:
    return ModelConfig(
        id="tiny",
        vocab_size=50,
        d=16,
        layers=2,
        heads=4,
        intermediate=24,
        max_positions=40,
        max_tokens=32,
        pooling=pooling,
        pooling_heads=4,
    )


def tiny_modern_config() -> ModelConfig:
    """A ModernBERT: one layer sees all tokens, one those near it."""
    shape = ModernShape((True, False), 8, 160_000.0, 10_000.0)
    return replace(tiny_config(Pooling.MEAN), type_vocab=0, modern=shape)


def random_weights(config: ModelConfig, seed: int = 0) -> dict[str, Float32]:
    """Weights of every tensor the config needs, class attention too; norms around 1 so that nothing fades."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in expected_shapes(config).items():
        centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        weights[name] = (centre + rng.normal(0, 0.3, shape)).astype(np.float32)
    return weights


def random_batch(config: ModelConfig, lengths: Sequence[int], seed: int = 1) -> tuple[Int32, Int32]:
    """Ids (b, t), zero after each length, and the lengths (b,)."""
    rng = np.random.default_rng(seed)
    token_ids = np.zeros((len(lengths), max(lengths)), np.int32)
    for row, length in zip(token_ids, lengths, strict=True):
        row[:length] = rng.integers(1, config.vocab_size, length)
    return token_ids, np.array(lengths, np.int32)


def word_tokenizer_json(vocab_size: int) -> str:
    """A tokenizer.json of the words w0, w1, ...; other words are w0."""
    tokenizer = Tokenizer(WordLevel({f"w{i}": i for i in range(vocab_size)}, unk_token="w0"))
    tokenizer.pre_tokenizer = Whitespace()
    text: str = tokenizer.to_str()
    return text
