"""A cross-encoder as the rest of Cognate sees it: a query and passages in, relevances out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.memory import return_freed_memory
from core.types import Float32, Int64, Lane, PassageText, RerankerInfo
from encoder.backends.base import Backend, Forward, Int32
from encoder.backends.openvino_backend import Precision
from encoder.checkpoint import require_ids
from encoder.cross_checkpoint import CrossEncoderCheckpoint, load_cross_encoder
from encoder.engine import Engine, EngineSettings, EngineStats
from encoder.pair_head import PairHead
from encoder.pair_tokenizer import PairTokenizer
from encoder.service import BackendName, build_backend

_log = logging.getLogger(__name__)

_SLICE = 512  # pairs tokenised and submitted at a time: other callers get their turn between them


class PairBackend:
    """A backend whose vectors are the logits (b, 1) of the head over the pooled states of another."""

    def __init__(self, backend: Backend, head: PairHead) -> None:
        self.needs_one_thread = backend.needs_one_thread
        self._backend = backend
        self._head = head
        self.bulk_streams = tuple(self._headed(stream) for stream in backend.bulk_streams)
        self.bulk_states = backend.bulk_states

    def padded_length(self, tokens: int) -> int:
        return self._backend.padded_length(tokens)

    def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._head.logits(self._backend.forward(token_ids, lengths))

    def _headed(self, stream: Forward) -> Forward:
        return lambda token_ids, lengths: self._head.logits(stream(token_ids, lengths))

    def states(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._backend.states(token_ids, lengths)


class CrossEncoderReranker:
    """Implements core.ports.Reranker over a pair tokenizer and an engine; safe to call from many threads.

    Scoring raises InvalidInput for texts that are not strings, and what `Engine.submit` raises.
    """

    def __init__(
        self, checkpoint: CrossEncoderCheckpoint, backend: Backend, settings: EngineSettings | None = None
    ) -> None:
        encoder = checkpoint.encoder
        config = encoder.config
        self._info = RerankerInfo(config.id, encoder.fingerprint, config.max_tokens, is_bi_encoder=False)
        offset = checkpoint.vocab_size if checkpoint.has_segments else 0
        self._tokenizer = PairTokenizer(encoder.tokenizer_json, config.max_tokens, offset)
        self._engine = Engine(PairBackend(backend, checkpoint.head), 1, settings)

    @property
    def info(self) -> RerankerInfo:
        return self._info

    def room(self, query: str) -> int:
        """How many tokens of a passage are read beside this query."""
        return self._tokenizer.room(query)

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        """One (t, 2) array a text: character offsets of its tokens, without special tokens or truncation."""
        return self._tokenizer.token_spans(texts)

    def score(self, query: str, passages: Sequence[PassageText], lane: Lane) -> Float32:
        """Logits (n,) float32 in the order of `passages`."""
        logits = [np.empty(0, np.float32)]
        for start in range(0, len(passages), _SLICE):
            pairs = self._tokenizer.encode(query, passages[start : start + _SLICE])
            logits.append(self._engine.encode(pairs, lane)[:, 0])
        return np.concatenate(logits)

    def stats(self) -> EngineStats:
        return self._engine.stats()

    def close(self) -> None:
        """Ends the engine; requests in progress fail with Unavailable."""
        self._engine.close()


def load_reranker(
    folder: Path,
    backend: str = BackendName.OPENVINO,
    precision: str = Precision.BF16,
    threads: int = 0,
    settings: EngineSettings | None = None,
) -> CrossEncoderReranker:
    """Loads a cross-encoder folder onto the same backends that encoders have.

    Int8 would need ranges calibrated on pairs; bf16 is taken instead. Raises CheckpointError for a bad
    folder, StartRefused for cuda without a GPU that can.
    """
    checkpoint = load_cross_encoder(folder)
    require_ids(folder, checkpoint.encoder.tokenizer_json, checkpoint.vocab_size)
    arithmetic = Precision.BF16 if Precision(precision) is Precision.INT8 else Precision(precision)
    chosen, settings = build_backend(folder, checkpoint.encoder, backend, arithmetic, threads, settings)
    _log.info("Reranker %s on %s", checkpoint.encoder.config.id, backend)
    service = CrossEncoderReranker(checkpoint, chosen, settings)
    del checkpoint  # the backend and the service hold what they need
    return_freed_memory()
    return service
