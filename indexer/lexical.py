"""The mutable owner of one collection's words: applies the log, compacts, publishes views."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import tantivy

from core.index_types import LogEntry
from indexer.lexical_analyzer import analyzer_of
from indexer.lexical_files import check_about, committed_bytes, dead_passages, link_committed
from indexer.lexical_store import LexicalStore, StoredPassage, known_digests, stored_passages
from indexer.lexical_view import LexicalView
from indexer.upkeep import Occasion, has_bent_scores

ABSENT: Final = 0  # the digest of a document without passages


class LexicalIndex:
    """Applies entries of the log; readers take views, which never change.

    `apply`, `publish`, `save`, `rest` and `compact` may be called by several threads; a compaction holds
    the others up only while it swaps. Applying again what is known already changes nothing.
    """

    def __init__(self, folder: Path, language: str, saved: Path | None = None) -> None:
        """An empty index, or the one that `save` wrote to `saved`, which is left as it is.

        `folder` is working space of this object alone: what is found there is deleted. Raises InvalidInput
        for an unknown language; DamagedIndex if `saved` is damaged or not of this language; OSError.
        """
        self._analyzer = analyzer_of(language)
        self._folder = folder
        self._lock = threading.Lock()
        self._compacting = threading.Lock()
        self._generation = 0
        self._bytes = 0
        shutil.rmtree(folder, ignore_errors=True)
        if saved is not None:
            check_about(saved, language)
            link_committed(saved, self._place(), language)
        self._store = LexicalStore(self._place(), language)
        self._changed: dict[int, int] = {}  # digests of documents changed since the last commit
        self._since: list[LogEntry] | None = None  # entries applied while a compaction runs
        self._searcher = self._store.searcher()  # of what was committed last
        self._view = LexicalView(self._searcher, self._analyzer, self._dead())

    @property
    def view(self) -> LexicalView:
        """What was published last."""
        return self._view

    @property
    def bytes(self) -> int:
        """Size on disk of what is committed. Of memory, the index takes what the system caches of that."""
        with suppress(OSError):  # closed, or just replaced
            self._bytes = committed_bytes(self._store.folder)
        return self._bytes

    def apply(self, entries: Sequence[LogEntry]) -> None:
        """Replaces all passages of each entry's document; seen from the next `publish` on."""
        with self._lock:
            if self._since is not None:
                self._since.extend(entries)
            self._apply(entries)

    def publish(self) -> LexicalView:
        """Commits what was applied; a view of it. The view published before, if nothing has changed."""
        with self._lock:
            self._commit()
            if self._view.searcher is not self._searcher:
                self._view = LexicalView(self._searcher, self._analyzer, self._dead())
            return self._view

    def save(self, folder: Path) -> None:
        """Writes what was applied to the new `folder`, to be opened as `saved`. Raises OSError."""
        with self._lock:
            self._commit()
            link_committed(self._store.folder, folder, self._analyzer.language)

    def rest(self) -> None:
        """Gives the memory for writing back; for when nothing has been applied for a while."""
        with self._lock:
            self._commit()
            self._store.rest()
            self._searcher = self._store.searcher()

    def is_compaction_due(self, occasion: Occasion = Occasion.WRITING) -> bool:
        """Whether so many deleted passages are kept that they take room and bend the scores."""
        dead = self._dead()
        return has_bent_scores(dead, dead + self._searcher.num_docs, occasion)

    def compact(self) -> bool:
        """Builds the index anew from its living passages, so that scores are those of a fresh build.

        `apply` and `publish` go on meanwhile; the next `publish` gives the result. False if a compaction
        runs already. Raises OSError, leaving all as it was.
        """
        if not self._compacting.acquire(blocking=False):
            return False
        try:
            with self._lock:
                self._commit()
                self._generation += 1
                self._since = []
                captured = self._searcher
            self._swap(self._rebuilt(captured))
        finally:
            self._since = None
            self._compacting.release()
        return True

    def _rebuilt(self, captured: tantivy.Searcher) -> LexicalStore:
        store = LexicalStore(self._place(), self._analyzer.language)
        try:
            for passages in stored_passages(captured):
                store.add(passages)
            store.commit()
            store.rest()
        except BaseException:
            store.rest()
            shutil.rmtree(store.folder, ignore_errors=True)
            raise
        return store

    def _swap(self, store: LexicalStore) -> None:
        with self._lock:
            old, before = self._store, (self._searcher, dict(self._changed))
            since, self._since = self._since or [], None
            try:
                self._store, self._searcher = store, store.searcher()
                self._changed.clear()
                self._apply(since)
            except BaseException:  # the one before has had all that was applied meanwhile, too
                self._store, (self._searcher, self._changed) = old, before
                shutil.rmtree(store.folder, ignore_errors=True)
                raise
        old.rest()
        shutil.rmtree(old.folder, ignore_errors=True)

    def _apply(self, entries: Sequence[LogEntry]) -> None:
        documents = [entry.document_id for entry in entries if entry.document_id not in self._changed]
        known = known_digests(self._searcher, documents) | self._changed
        for entry in entries:
            digest, before = _digest(entry), known.get(entry.document_id, ABSENT)
            if digest == before:
                continue
            if before != ABSENT:
                self._store.delete(entry.document_id)
            self._store.add(self._passages(entry, digest))
            known[entry.document_id] = self._changed[entry.document_id] = digest

    def _passages(self, entry: LogEntry, digest: int) -> list[StoredPassage]:
        """The passages as they are indexed: the title, then the text."""
        texts = entry.texts or ("",) * len(entry.passage_ids)
        return [
            StoredPassage(
                entry.document_id, passage_id, digest, self._analyzer.prepare(f"{entry.title}\n{text}")
            )
            for passage_id, text in zip(entry.passage_ids.tolist(), texts, strict=True)
        ]

    def _commit(self) -> None:
        if self._changed:
            self._store.commit()
            self._searcher = self._store.searcher()
            self._changed.clear()

    def _dead(self) -> int:
        """Deleted passages that are still counted; 0 of an index that is closed, or just replaced."""
        try:
            return dead_passages(self._store.folder)
        except OSError:
            return 0

    def _place(self) -> Path:
        return self._folder / str(self._generation)


def _digest(entry: LogEntry) -> int:
    """64 bits that tell what is indexed of a document; ABSENT if it has no passages."""
    if not len(entry.passage_ids):
        return ABSENT
    digest = hashlib.blake2b(entry.passage_ids.tobytes(), digest_size=8)
    for text in (entry.title, *entry.texts):
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return int.from_bytes(digest.digest(), "little", signed=True) or 1
