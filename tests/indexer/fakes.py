"""An in-memory database of documents with its change log, and brute-force search over it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from core.errors import NotFound
from core.index_types import IndexHit, LogEntry, LogPage
from core.ports.stores import HeldPassages, holds_nothing
from core.types import (
    Collection,
    CollectionSettings,
    DocumentCounts,
    EncoderInfo,
    Float16,
    Float32,
    Int64,
    SearchDefaults,
)
from indexer.collection_index import CollectionIndex
from indexer.lexical import LexicalIndex
from indexer.main_index import Build
from indexer.search_index import SearchIndex, SearchState

D = 8


def unit_rows(rng: np.random.Generator, n: int, d: int = D) -> Float16:
    """(n, d) float16 random unit vectors, as the database stores them."""
    rows = rng.standard_normal((n, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float16)


def clustered_rows(rng: np.random.Generator, n: int, d: int, clusters: int = 100) -> Float32:
    """(n, d) float32 unit vectors around random centres."""
    centres = rng.standard_normal((clusters, d))
    rows = centres[rng.integers(0, clusters, n)] + 0.5 * rng.standard_normal((n, d))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@dataclass
class FakeDatabase:
    """Implements ChangeLog and, as far as followers need it, CollectionStore."""

    collections: dict[int, Collection] = field(default_factory=dict)
    documents: dict[int, dict[int, LogEntry]] = field(default_factory=dict)
    broken: Callable[[int], None] = lambda collection_id: None
    next_passage: int = 1
    hidden: set[int] = field(default_factory=set)  # ids of collections that are not listed
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add_collection(
        self, name: str, uid: str = "", index: str = "auto", id_: int | None = None
    ) -> Collection:
        with self.lock:
            id_ = id_ or max(self.collections, default=0) + 1
            encoder = EncoderInfo("fake", "f" * 64, D, 256)
            settings = CollectionSettings(index=index)
            now = datetime.now(UTC)
            collection = Collection(id_, uid or f"uid-{name}", name, "", encoder, settings, 0, 0, now)
            self.collections[id_] = collection
            self.documents[id_] = {}
            return collection

    def put(self, collection_id: int, vectors: dict[int, Float16]) -> int:
        """Replaces documents by id, an empty array deletes; the seq of the change."""
        with self.lock:
            seq = self._next_seq(collection_id)
            for document_id, rows in vectors.items():
                ids = np.arange(self.next_passage, self.next_passage + len(rows), dtype=np.int64)
                self.next_passage += len(rows)
                entry = LogEntry(document_id, seq, ids, rows.reshape(-1, D), *content(document_id, len(rows)))
                self.documents[collection_id][document_id] = entry
            return seq

    def touch(self, collection_id: int, document_id: int) -> int:
        """A change of metadata: a new seq, the same passages."""
        with self.lock:
            seq = self._next_seq(collection_id)
            entry = self.documents[collection_id][document_id]
            metadata = {**entry.metadata, "touched": seq} if len(entry.passage_ids) else {}
            self.documents[collection_id][document_id] = replace(entry, seq=seq, metadata=metadata)
            return seq

    def purge(self, collection_id: int) -> None:
        """Forgets tombstones."""
        with self.lock:
            documents = self.documents[collection_id]
            gone = [entry for entry in documents.values() if not len(entry.passage_ids)]
            for entry in gone:
                del documents[entry.document_id]
            newest = max((entry.seq for entry in gone), default=0)
            collection = self.collections[collection_id]
            self.collections[collection_id] = replace(collection, purged_seq=newest)

    def heads(self) -> dict[int, int]:
        return {id_: collection.seq for id_, collection in self.collections.items()}

    def read(
        self, collection_id: int, cursor: tuple[int, int], limit: int, held: HeldPassages = holds_nothing
    ) -> LogPage:
        self.broken(collection_id)
        with self.lock:
            if collection_id not in self.collections:
                raise NotFound(f"Collection {collection_id} does not exist")
            entries = sorted(self.documents[collection_id].values(), key=_place)
            rest = [entry for entry in entries if _place(entry) > cursor]
            page, following = [_without_held(entry, held) for entry in rest[:limit]], rest[limit:]
            end = _place(page[-1]) if page else cursor
            head = self.collections[collection_id].seq
            return LogPage(tuple(page), end, following[0].seq - 1 if following else head, not following)

    def list(self) -> list[Collection]:
        with self.lock:
            return [one for one in self.collections.values() if one.id not in self.hidden]

    def get(self, name: str) -> Collection:
        return next(one for one in self.list() if one.name == name)

    def change(self, name: str, description: str | None, search: SearchDefaults | None) -> Collection:
        with self.lock:
            found = self.get(name)
            changed = replace(
                found,
                description=found.description if description is None else description,
                search=found.search if search is None else search,
            )
            self.collections[found.id] = changed
            return changed

    def delete(self, name: str) -> Collection:
        with self.lock:
            collection = self.get(name)
            del self.collections[collection.id], self.documents[collection.id]
            return collection

    def create(
        self, name: str, description: str, encoder: EncoderInfo, settings: CollectionSettings
    ) -> tuple[Collection, bool]:
        raise NotImplementedError

    def counts(self, collection_id: int) -> DocumentCounts:
        raise NotImplementedError

    def rows(self, collection_id: int) -> tuple[Float32, Int64, Int64]:
        """Vectors, passage ids and document ids of all that is searchable."""
        live = [entry for entry in self.documents[collection_id].values() if len(entry.passage_ids)]
        if not live:
            return np.empty((0, D), np.float32), np.empty(0, np.int64), np.empty(0, np.int64)
        return (
            np.concatenate([entry.vectors for entry in live]).astype(np.float32),
            np.concatenate([entry.passage_ids for entry in live]),
            np.concatenate([np.full(len(entry.passage_ids), entry.document_id) for entry in live]),
        )

    def _next_seq(self, collection_id: int) -> int:
        collection = self.collections[collection_id]
        self.collections[collection_id] = replace(collection, seq=collection.seq + 1)
        return collection.seq + 1


WORDS = ("alpha", "beta", "gamma", "delta", "common")


def content(document_id: int, passages: int) -> tuple[str, tuple[str, ...], dict[str, object]]:
    """Title, texts of the passages and metadata: none for a removed document."""
    if not passages:
        return "", (), {}
    texts = (f"common {WORDS[(document_id + i) % 4]} number{document_id}" for i in range(passages))
    return f"title{document_id % 3}", tuple(texts), {"number": document_id, "kind": WORDS[document_id % 4]}


def search_index(
    folder: Path, index: str = "auto", state: SearchState | None = None, recall_target: float = 0.95
) -> SearchIndex:
    """A whole index of the fake database, its working space in a new folder under `folder`."""
    place = folder / f"live-{next(_live)}"
    settings = CollectionSettings(index=index)
    return SearchIndex(D, settings, place, state, recall_target=recall_target)


_live = itertools.count()


def compact_all(index: SearchIndex, build: Build | None = None) -> None:
    """Compacts vectors and words, due or not."""
    with pytest.MonkeyPatch.context() as patch:
        for part in (CollectionIndex, LexicalIndex):
            patch.setattr(part, "is_compaction_due", lambda *_: True)
        assert index.compact(build)


def _without_held(entry: LogEntry, held: HeldPassages) -> LogEntry:
    """The entry as a reader gets it who holds these passages already."""
    if not len(entry.passage_ids) or list(held(entry.document_id)) != entry.passage_ids.tolist():
        return entry
    empty = LogEntry(entry.document_id, entry.seq, entry.passage_ids, entry.vectors[:0])
    return replace(empty, metadata=entry.metadata, is_held=True)


def _place(entry: LogEntry) -> tuple[int, int]:
    return (entry.seq, entry.document_id)


class FakeNotifier:
    """Calls listeners at once; `is_deaf` loses every message."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[int, int], None]] = []
        self.compactors: list[Callable[[], None]] = []
        self.is_deaf = False

    def publish(self, collection_id: int, seq: int) -> None:
        for listener in [] if self.is_deaf else self.listeners:
            listener(collection_id, seq)

    def subscribe(self, listener: Callable[[int, int], None]) -> None:
        self.listeners.append(listener)

    def request_compaction(self) -> None:
        for compactor in self.compactors:
            compactor()

    def subscribe_compaction(self, listener: Callable[[], None]) -> None:
        self.compactors.append(listener)


def brute_force(rows: tuple[Float32, Int64, Int64], query: Float32, k: int) -> list[IndexHit]:
    """The k best documents of one query (d,), by scoring everything with numpy."""
    vectors, passage_ids, document_ids = rows
    hits: dict[int, IndexHit] = {}
    ranked = sorted(
        zip((-(vectors @ query)).tolist(), passage_ids.tolist(), document_ids.tolist(), strict=True)
    )
    for score, passage, document in ranked:
        hits.setdefault(document, IndexHit(document, passage, -score))
    return [*hits.values()][:k]


def assert_same_hits(found: Sequence[IndexHit], expected: Sequence[IndexHit]) -> None:
    """Same documents and scores; documents whose scores differ by rounding alone may change places."""
    assert len(found) == len(expected)
    np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in expected], atol=1e-5)
    last = expected[-1].score if expected else 0.0
    sure = {hit.document_id for hit in expected if hit.score > last + 1e-5}
    assert sure <= {hit.document_id for hit in found}
    assert len({hit.document_id for hit in found}) == len(found)


class WordTokens:
    """Tokens are runs of letters cut into pieces of at most `piece` characters, and single other marks."""

    def __init__(self, piece: int = 6) -> None:
        self.piece = piece
        self.calls = 0

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        self.calls += 1
        return [np.array(self._spans(text), dtype=np.int64).reshape(-1, 2) for text in texts]

    def _spans(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        length = 0
        for i, mark in enumerate(text):
            if mark.isspace():
                length = 0
            elif mark.isalnum() and 0 < length < self.piece:
                spans[-1] = (spans[-1][0], i + 1)
                length += 1
            else:
                spans.append((i, i + 1))
                length = 1 if mark.isalnum() else 0
        return spans
