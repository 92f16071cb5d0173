"""Fakes of the ports: small, deterministic, without a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from core.errors import InvalidInput
from core.generation_types import (
    FinishReason,
    Generated,
    GenerationOptions,
    GenerationTask,
    GeneratorInfo,
    Piece,
    TaskStanding,
)
from core.job_types import Task
from core.metering import IngestStage
from core.query_rewrites import QueryRewrite
from core.token_types import Token, TokenField, TokenizedPassage, TokenParts
from core.types import CollectionSettings, EncoderInfo, Float32, Int32, Int64, Lane, PassageText, Span
from encoder.engine import EngineStats
from encoder.lanes import WAIT_BOUNDS_S, LaneStats

DIM = 64
FAKE_INFO = EncoderInfo("fake", "f" * 64, DIM, 256)


@dataclass
class FakeEncoder:
    """Bag of hashed words: texts that share words are near. `refuse` makes passages fail.

    Words are tokens, but for those that begin with "qx", which are read letter by letter.
    """

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

    def tokenize_passages(self, passages: Sequence[PassageText]) -> list[TokenizedPassage]:
        ids = self.tokenize([f"{passage.title} {passage.text}" for passage in passages])
        return [TokenizedPassage(*each) for each in zip(passages, ids, strict=True)]

    def encode_tokenized(self, passages: Sequence[TokenizedPassage], lane: Lane = Lane.BULK) -> Float32:
        return self.encode_passages([passage.passage for passage in passages], lane)

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        return [
            np.array(
                [m.span() for m in re.finditer(r"(?!qx)(?<!\w)\w+|\w|[^\w\s]", text)], dtype=np.int64
            ).reshape(-1, 2)
            for text in texts
        ]

    def query_parts(self, text: str) -> TokenParts:
        return self.passage_parts([PassageText("", text)])[0]

    def passage_parts(self, passages: Sequence[PassageText]) -> list[TokenParts]:
        return [word_parts(passage) for passage in passages]

    @property
    def at_once(self) -> int:
        return self.info.max_tokens

    @property
    def batch_tokens(self) -> int:
        return 512

    @property
    def vocabulary_size(self) -> int:
        return 1000

    @property
    def pooling(self) -> str:
        return "mean"

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
    return TokenParts(tuple(tokens), tuple(range(len(tokens))), vectors, len(tokens) > FAKE_INFO.max_tokens)


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

    def request_compaction(self) -> None:
        raise AssertionError("nothing should request compactions here")

    def subscribe_compaction(self, listener: Callable[[], None]) -> None:
        raise AssertionError("nothing should subscribe here")


STANDINGS = tuple(
    TaskStanding(task, task is not GenerationTask.ASK, "ROUGE-L", 40.0, 30.0) for task in GenerationTask
)
FAKE_GENERATOR = GeneratorInfo("fake-generator", "a" * 64, FAKE_INFO.fingerprint, 40, 96, STANDINGS)


@dataclass
class FakeGenerator:
    """Writes what `written` says for a source, else its words in reverse.

    `asked` remembers all sources; `before` runs before each call.
    """

    written: Mapping[str, Sequence[str]] = field(default_factory=dict)
    info: GeneratorInfo = FAKE_GENERATOR
    before: Callable[[], None] = lambda: None
    asked: list[tuple[GenerationTask, str]] = field(default_factory=list)
    options: list[GenerationOptions] = field(default_factory=list)
    writes_ahead: bool = False

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def generate(
        self, task: GenerationTask, sources: Sequence[str], options: GenerationOptions
    ) -> list[list[Generated]]:
        self.before()
        self.asked += [(task, source) for source in sources]
        self.options.append(options)
        if any(count > self.info.max_source_tokens for count in self.source_tokens(sources)):
            raise InvalidInput("a source is too long")
        return [self._texts(source)[: options.n] for source in sources]

    def stream(
        self,
        task: GenerationTask,
        source: str,
        options: GenerationOptions,
        ended: Callable[[], None] | None = None,
    ) -> Iterator[Piece]:
        """The last piece is empty. All is written when it is read, or at once with `writes_ahead`."""
        self.before()
        self.asked.append((task, source))
        if self.writes_ahead and ended is not None:
            ended()
        whole = self._texts(source)[0]
        return iter([*map(Piece, re.findall(r"\s*\S+", whole.text)), Piece("", whole.finish)])

    def _texts(self, source: str) -> list[Generated]:
        texts = self.written.get(source, [" ".join(reversed(source.split()))])
        return [
            Generated(text.removesuffix("~"), -0.1 * (i + 1), _finish(text), len(text.split()))
            for i, text in enumerate(texts)
        ]


def _finish(text: str) -> FinishReason:
    """A text that ends in ~ was cut off."""
    return FinishReason.LENGTH if text.endswith("~") else FinishReason.STOP


@dataclass
class FakeGeneratorSource:
    """A GeneratorSource that counts how often it loads; `problem` is raised instead."""

    generator: FakeGenerator
    problem: Exception | None = None
    loads: int = 0

    def info(self) -> GeneratorInfo:
        if self.problem is not None:
            raise self.problem
        return self.generator.info

    def load(self) -> FakeGenerator:
        self.loads += 1
        return self.generator


@dataclass
class RecordingGenerationMeter:
    told: list[tuple[str, ...]] = field(default_factory=list)

    def generated(self, task: str, tokens: int, seconds: float) -> None:
        assert seconds >= 0
        self.told.append(("generated", task, str(tokens)))

    def dropped(self, task: str, reason: str) -> None:
        self.told.append(("dropped", task, reason))

    def explained(self, kind: str, outcome: str) -> None:
        self.told.append(("explained", kind, outcome))


@dataclass
class FakeRewriter:
    """A QueryRewriter that knows some queries."""

    known: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problem: Exception | None = None

    def rewrites(self, queries: Sequence[str]) -> list[tuple[QueryRewrite, ...]]:
        if self.problem is not None:
            raise self.problem
        return [
            tuple(QueryRewrite(text, GenerationTask.PARAPHRASE) for text in self.known.get(query, ()))
            for query in queries
        ]
