"""One collection's whole index: vectors, words and attributes, which follow the log in step."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.document_set import DocumentSet
from core.filters import Filter
from core.types import CollectionSettings, Float32, IndexHit, IndexStats, Int64, LogPage
from indexer.attributes import AttributeIndex, AttributeState, AttributeView
from indexer.collection_index import CollectionIndex, Cursor, IndexState
from indexer.lexical import LexicalIndex, LexicalView
from indexer.main_index import Build
from indexer.vector_index import View


@dataclass(frozen=True, slots=True, eq=False)
class SearchView:
    """Implements `core.ports.IndexView`: the parts as they were after one and the same page of the log."""

    vectors: View
    words: LexicalView
    attributes: AttributeView

    @property
    def seq(self) -> int:
        return self.vectors.seq

    def dense(self, xq: Float32, k: int, allowed: DocumentSet | None = None) -> list[list[IndexHit]]:
        return self.vectors.search(xq, k, allowed)

    def dense_scores(self, query: Float32, document_ids: Int64) -> list[IndexHit]:
        return self.vectors.score(query, document_ids)

    def lexical(self, text: str, k: int, allowed: DocumentSet | None = None) -> list[IndexHit]:
        return self.words.search(text, k, allowed)

    def lexical_scores(self, text: str, document_ids: Int64) -> list[IndexHit]:
        return self.words.score(text, document_ids)

    def select(self, filter_: Filter) -> DocumentSet:
        return self.attributes.select(filter_)


@dataclass(frozen=True, slots=True, eq=False)
class SearchState:
    """What a snapshot holds; the words lie in a folder."""

    vectors: IndexState
    attributes: AttributeState
    words: Path


class SearchIndex:
    """Applies log pages to all parts and publishes them together; readers take `view` without any lock.

    `folder` is an empty one of its own, or that of a saved state; it is removed by `close`.
    """

    def __init__(
        self,
        d: int,
        settings: CollectionSettings,
        folder: Path,
        state: SearchState | None = None,
        build_threads: int = 1,
    ) -> None:
        self._vectors = CollectionIndex(d, settings.index, state and state.vectors, build_threads)
        self._words = LexicalIndex(folder, settings.language)
        self._attributes = AttributeIndex(settings.attributes, state and state.attributes)
        self._folder = folder
        self._lock = threading.Lock()
        self._publish()

    @property
    def view(self) -> SearchView:
        """The newest published state; it never changes."""
        return self._view

    @property
    def applied_seq(self) -> int:
        return self._view.seq

    @property
    def cursor(self) -> Cursor:
        """Where to read the log on."""
        return self._vectors.cursor

    @property
    def changes(self) -> int:
        """Entries applied since the collection began; grows with every one."""
        return self._vectors.changes

    def apply(self, page: LogPage) -> None:
        """Applies a page of the log to all parts, then publishes; applying it again changes nothing.

        Raises EncoderMismatch, before any change, if a vector has another d than the collection.
        """
        with self._lock:
            self._vectors.apply(page)
            self._words.apply(page.entries)
            self._attributes.apply(page.entries)
            self._publish()

    def is_compaction_due(self) -> bool:
        return self._vectors.is_compaction_due()

    def compact(self, build: Build | None = None) -> bool:
        """Compacts the vectors; searches and `apply` go on meanwhile. False if that is running already.

        Raises BuildCancelled, leaving all as it was.
        """
        is_done = self._vectors.compact(build)
        with self._lock:
            self._publish()
        return is_done

    def capture(self, folder: Path) -> SearchState:
        """The present state, safe to read while the index goes on changing; its words are put in `folder`."""
        with self._lock:
            self._words.save(folder)
            return SearchState(self._vectors.capture(), self._attributes.capture(), folder)

    def stats(self) -> IndexStats:
        """Counts are in passages: living ones, those in delta, and dead ones not yet compacted away."""
        stats = self._vectors.stats()
        return replace(stats, bytes=stats.bytes + self._words.bytes + self._attributes.bytes)

    def close(self) -> None:
        """Frees the disk; views that are still searched stay as they are."""
        self._words.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _publish(self) -> None:
        self._view = SearchView(self._vectors.view, self._words.publish(), self._attributes.publish())
