"""One collection's whole index: vectors, words and attributes, which follow the log in step."""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from core.document_set import DocumentSet
from core.errors import EncoderMismatch
from core.filters import Filter
from core.index_types import Facet, IndexHit, IndexStats, LogPage, PassageVectors
from core.memory import return_freed_memory
from core.types import CollectionSettings, Float32, Float64, Int64
from indexer.attributes import AttributeIndex
from indexer.attributes_snapshot import Arrays
from indexer.attributes_view import AttributeView
from indexer.collection_index import RECALL_TARGET, CollectionIndex, Cursor, IndexState
from indexer.lexical import LexicalIndex
from indexer.lexical_analyzer import analyzer_of
from indexer.lexical_view import LexicalView
from indexer.lexical_words import keeps_beginnings, shown_stem, shown_words
from indexer.main_index import Build
from indexer.term_sets import TermSets
from indexer.upkeep import Occasion
from indexer.vector_index import View

logger = logging.getLogger(__name__)

FACET_VALUES = 100  # at most, of one field
REST_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class SearchView:
    """Implements `core.ports.IndexView`: the parts as they were after one and the same page of the log."""

    vector_view: View
    words: LexicalView
    attributes: AttributeView
    terms: TermSets
    stem: Callable[[str], str]
    shown_words: Callable[[str], list[tuple[str, str]]]
    keeps_beginnings: bool

    @property
    def seq(self) -> int:
        return self.vector_view.seq

    def dense(self, xq: Float32, k: int, allowed: DocumentSet | None = None) -> list[list[IndexHit]]:
        return self.vector_view.search(xq, k, allowed)

    def dense_scores(self, query: Float32, document_ids: Int64) -> list[IndexHit]:
        return self.vector_view.score(query, document_ids)

    def lexical(self, text: str, k: int, allowed: DocumentSet | None = None) -> list[IndexHit]:
        return self.words.search(text, k, allowed)

    def lexical_scores(self, text: str, document_ids: Int64) -> tuple[Float64, Int64]:
        return self.words.score(text, document_ids)

    def coverage(self, text: str, document_ids: Int64) -> list[IndexHit]:
        return self.terms.coverage(self.words.worth(text), document_ids)

    def document_ids(self) -> Int64:
        return self.vector_view.document_ids()

    def vectors(self, document_ids: Int64) -> PassageVectors:
        return self.vector_view.vectors(document_ids)

    def facets(self, fields: Sequence[str], allowed: DocumentSet | None = None) -> dict[str, Facet]:
        return self.attributes.facets(fields, FACET_VALUES, allowed)

    def select(self, filter_: Filter) -> DocumentSet:
        return self.attributes.select(filter_)


@dataclass(frozen=True, slots=True, eq=False)
class SearchState:
    """What a snapshot holds; `words` is the folder of the lexical index."""

    vectors: IndexState
    attributes: Arrays
    terms: Arrays
    words: Path


class SearchIndex:
    """Applies log pages to all parts and publishes them together; readers take `view` without any lock.

    `folder` is working space of its own; `close` removes it.
    """

    def __init__(
        self,
        d: int,
        settings: CollectionSettings,
        folder: Path,
        state: SearchState | None = None,
        build_threads: int = 1,
        recall_target: float = RECALL_TARGET,
    ) -> None:
        """Raises DamagedIndex or ValueError when a saved `state` does not belong to these settings."""
        saved = state.words if state else None
        self._words = LexicalIndex(folder, settings.language, saved)
        self._attributes = AttributeIndex(settings.attributes, state.attributes if state else None)
        self._terms = TermSets(analyzer_of(settings.language), state.terms if state else None)
        vectors = state.vectors if state else None
        self._vectors = CollectionIndex(d, settings.index, vectors, build_threads, recall_target)
        self._stem = partial(shown_stem, settings.language)
        self._shown_words = partial(shown_words, settings.language)
        self._keeps_beginnings = keeps_beginnings(settings.language)
        self._folder = folder
        self._lock = threading.Lock()
        self._is_broken = False
        self._applied_s = -math.inf
        self._publish()

    @property
    def view(self) -> SearchView:
        """The newest published state; it never changes."""
        return self._view

    @property
    def applied_seq(self) -> int:
        return self._view.seq

    @property
    def is_broken(self) -> bool:
        """Whether a page was applied by halves; then the index must be built anew."""
        return self._is_broken

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

        Raises EncoderMismatch, before any change, if a vector has another d than the collection. After any
        other exception the parts are out of step: what was published before stays, nothing more is, and the
        index is never saved; it must be built anew.
        """
        with self._lock:
            try:
                self._vectors.apply(page)
                renewed = [entry for entry in page.entries if not entry.is_held]
                self._words.apply(renewed)
                self._terms.apply(renewed)
                self._attributes.apply(page.entries)
                self._publish()
            except EncoderMismatch:
                raise
            except BaseException:
                self._is_broken = True
                raise
            self._applied_s = time.monotonic()

    def held_passages(self, document_id: int) -> list[int]:
        """Ids, in order, of the passages of a document that were applied."""
        return self._vectors.held_passages(document_id)

    def is_compaction_due(self, is_requested: bool = False) -> bool:
        occasion = self._occasion(is_requested)
        return self._vectors.is_compaction_due(occasion) or self._words.is_compaction_due(occasion)

    def compact(self, build: Build | None = None, is_requested: bool = False) -> bool:
        """Compacts vectors or words, each if it is due itself; searches and `apply` go on meanwhile.

        Whether anything was compacted: not what is being compacted already. Raises BuildCancelled, leaving
        the vectors as they were.
        """
        if self._is_broken:
            return False
        occasion = self._occasion(is_requested)
        is_done = self._vectors.is_compaction_due(occasion) and self._vectors.compact(build)
        if self._words.is_compaction_due(occasion):
            is_done = self._words.compact() or is_done
        with self._lock:
            self._publish()
        return is_done

    @property
    def is_resting(self) -> bool:
        """Whether nothing was applied since `rest` found that nothing had been for a while."""
        return self._applied_s == math.inf

    def _occasion(self, is_requested: bool) -> Occasion:
        if is_requested:
            return Occasion.REQUESTED
        return Occasion.RESTING if self.is_resting else Occasion.WRITING

    def rest(self) -> None:
        """Gives memory for writing back when nothing was applied for a while."""
        if time.monotonic() - self._applied_s > REST_AFTER_S:
            self._applied_s = math.inf
            self._words.rest()
            with self._lock:
                self._publish()
            return_freed_memory()

    def capture(self, folder: Path) -> SearchState:
        """The present state, safe to read while the index changes; its words go to a new `folder`.

        Raises OSError, and RuntimeError if the parts are out of step.
        """
        with self._lock:
            if self._is_broken:
                raise RuntimeError("a page was applied by halves")
            self._words.save(folder)
            vectors, attributes, terms = self._vectors.capture(), self._view.attributes, self._terms.arrays()
        return SearchState(vectors, attributes.arrays(), terms, folder)

    def stats(self) -> IndexStats:
        """Of what is published; in passages: living ones, those in delta, dead ones still kept."""
        stats, attributes = self._stats, self._view.attributes
        return replace(
            stats,
            bytes=stats.bytes + self._words.bytes + self._terms.bytes + self._attributes.bytes,
            fields=attributes.fields,
            unindexed=attributes.unindexed,
            beyond_limits=attributes.beyond_limits,
        )

    def close(self) -> None:
        """Frees memory and disk, as far as it can; views that are still searched stay as they are."""
        try:
            with self._lock:
                self._words.rest()
        except Exception:  # a disk that refuses, say: nothing of it is needed any more
            logger.warning("index_not_closed", exc_info=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _publish(self) -> None:
        if self._is_broken:
            return
        words, attributes = self._words.publish(), self._attributes.publish()
        self._stats = self._vectors.stats()
        self._view = SearchView(
            self._vectors.view,
            words,
            attributes,
            self._terms,
            self._stem,
            self._shown_words,
            self._keeps_beginnings,
        )
