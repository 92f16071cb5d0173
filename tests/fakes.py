"""Fakes of the ports: small, deterministic, without a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from core.metering import IngestStage
from core.types import (
    CollectionSettings,
    EncoderInfo,
    Float32,
    Int32,
    Int64,
    Lane,
    PassageText,
    Span,
    Task,
    Token,
    TokenField,
    TokenParts,
)
from encoder.engine import EngineStats
from encoder.lanes import WAIT_BOUNDS_S, LaneStats

DIM = 64
FAKE_INFO = EncoderInfo("fake", "f" * 64, DIM, 256)


@dataclass
class FakeEncoder:
    """Bag of hashed words: texts that share words are near. `refuse` makes passages fail."""

    refuse: Callable[[str], bool] = lambda text: False
    info: EncoderInfo = FAKE_INFO
    encoded: list[str] = field(default_factory=list)

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        return np.stack([word_vector(text) for text in texts])

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        for passage in passages:
            if self.refuse(passage.text):
                raise ValueError("this text cannot be encoded")
        self.encoded += [passage.text for passage in passages]
        return np.stack([word_vector(f"{passage.title} {passage.text}") for passage in passages])

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        return [
            np.array([m.span() for m in re.finditer(r"\w+|[^\w\s]", text)], dtype=np.int64).reshape(-1, 2)
            for text in texts
        ]

    def query_parts(self, text: str) -> TokenParts:
        return self.passage_parts([PassageText("", text)])[0]

    def passage_parts(self, passages: Sequence[PassageText]) -> list[TokenParts]:
        return [word_parts(passage) for passage in passages]

    @property
    def vocabulary_size(self) -> int:
        return 1000

    def tokenize(self, texts: Sequence[str]) -> list[Int32]:
        return [
            np.array([1, *(crc32(w.encode()) % 900 + 10 for w in text.split()), 2], np.int32)
            for text in texts
        ]

    def encode_tokens(self, token_ids: Sequence[Int32], lane: Lane) -> Float32:
        return np.stack([word_vector(" ".join(map(str, ids[: FAKE_INFO.max_tokens]))) for ids in token_ids])

    def stats(self) -> EngineStats:
        idle = LaneStats(0, 0, 0, 0.0, (0,) * (len(WAIT_BOUNDS_S) + 1))
        return EngineStats(0, 0, 0, 0, idle, idle)

    def close(self) -> None:
        pass


def word_vector(text: str) -> Float32:
    vector = np.full(DIM, 1e-3, dtype=np.float32)
    for word in re.findall(r"\w+", text.lower()):
        vector[crc32(word.encode()) % DIM] += 1
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def word_parts(passage: PassageText) -> TokenParts:
    """`word_vector` as a sum: each word's share, and the constant as a special token."""
    tokens, rows = [Token("[CLS]", TokenField.SPECIAL, 0, 0)], [np.full(DIM, 1e-3, dtype=np.float32)]
    for place, text in ((TokenField.TITLE, passage.title), (TokenField.TEXT, passage.text)):
        for match in re.finditer(r"\w+", text):
            tokens.append(Token(match[0], place, *match.span()))
            rows.append(np.zeros(DIM, dtype=np.float32))
            rows[-1][crc32(match[0].lower().encode()) % DIM] = 1
    vectors = np.stack(rows)
    vectors /= np.linalg.norm(vectors.sum(axis=0))
    return TokenParts(tuple(tokens), tuple(range(len(tokens))), vectors)


class WholeTextChunker:
    """One passage a document."""

    def split(self, documents: Sequence[PassageText], settings: CollectionSettings) -> list[tuple[Span, ...]]:
        return [(Span(0, len(document.text)),) for document in documents]


@dataclass
class ListQueue:
    """Remembers tasks; the test runs them."""

    tasks: list[Task] = field(default_factory=list)

    def enqueue(self, tasks: Sequence[Task]) -> None:
        self.tasks += tasks

    def depth(self) -> int:
        return len(self.tasks)


@dataclass
class RecordingMeter:
    """Remembers what it was told, stages without their times."""

    told: list[object] = field(default_factory=list)

    def took(self, stage: IngestStage, seconds: float) -> None:
        assert seconds >= 0
        self.told.append(stage)

    def settled(self, searchable: int, failed: int) -> None:
        self.told.append((searchable, failed))

    def took_over(self) -> None:
        self.told.append("took over")

    def dropped(self) -> None:
        self.told.append("dropped")

    def bisected(self) -> None:
        self.told.append("bisected")


@dataclass
class RecordingNotifier:
    published: list[tuple[int, int]] = field(default_factory=list)

    def publish(self, collection_id: int, seq: int) -> None:
        self.published.append((collection_id, seq))

    def subscribe(self, listener: Callable[[int, int], None]) -> None:
        raise AssertionError("nothing should subscribe here")
