"""Ports of the indexes of a process, and of what is cut into passages for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from core.document_set import DocumentSet
from core.filters import Filter
from core.index_types import Facet, IndexHit, IndexStats, PassageVectors
from core.types import Collection, CollectionSettings, Float32, Float64, Int64, PassageText, Span


class Chunker(Protocol):
    """Texts to passages."""

    def split(self, documents: Sequence[PassageText], settings: CollectionSettings) -> list[tuple[Span, ...]]:
        """Passage spans of each document; joined they cover its text, neighbours may overlap."""
        ...


class IndexView(Protocol):
    """An immutable state of one collection's index: vectors, words and attributes of the same documents.

    Searches give one hit a document, by its best passage, best first; equal scores by passage id. `allowed`
    keeps them to a set of documents: at most k hits, fewer only if fewer documents answer.
    """

    @property
    def seq(self) -> int: ...

    def dense(self, xq: Float32, k: int, allowed: DocumentSet | None = None) -> list[list[IndexHit]]:
        """Hits for each row of `xq` (n, d); every document answers."""
        ...

    def dense_scores(self, query: Float32, document_ids: Int64) -> list[IndexHit]:
        """Inner products of `query` (d,) with the best passage of each of the documents in the view."""
        ...

    def lexical(self, text: str, k: int, allowed: DocumentSet | None = None) -> list[IndexHit]:
        """Hits by BM25; documents answer that hold any word of the text."""
        ...

    def lexical_scores(self, text: str, document_ids: Int64) -> tuple[Float64, Int64]:
        """Of documents (n,), different and ascending: their BM25 as in `lexical` (n,), their passages (n,).

        0 and -1 for one that holds no word of the text.
        """
        ...

    def coverage(self, text: str, document_ids: Int64) -> list[IndexHit]:
        """The passage of each document that covers most of the text's words, of those that hold any.

        Its score is the share covered, 0 to 1: the idf of the words it holds among that of all words.
        """
        ...

    def stem(self, word: str) -> str:
        """The word as it is indexed; empty for one too common to be worth showing."""
        ...

    @property
    def keeps_beginnings(self) -> bool:
        """Whether `stem` leaves the first letters of words of English letters, as core.highlighting wants."""
        ...

    def shown_words(self, text: str) -> list[tuple[str, str]]:
        """Each word worth showing, in order: as it is indexed, and as it is written."""
        ...

    def document_ids(self) -> Int64:
        """(n,) ids of all documents that have a vector, ascending."""
        ...

    def vectors(self, document_ids: Int64) -> PassageVectors:
        """The vectors of all passages of those of the documents (n,) that are in the view."""
        ...

    def select(self, filter_: Filter) -> DocumentSet:
        """The documents that match. Raises InvalidInput naming the known fields and their types."""
        ...

    def facets(self, fields: Sequence[str], allowed: DocumentSet | None = None) -> Mapping[str, Facet]:
        """The most frequent values of each field over `allowed` or all. Raises InvalidInput as `select`."""
        ...


class IndexRegistry(Protocol):
    """The indexes of this process, one a collection, kept in step with the change log."""

    def view(self, collection: Collection) -> IndexView:
        """The newest state. Raises Unavailable while there is none that the collection ever had."""
        ...

    def stats(self, collection: Collection) -> IndexStats: ...

    def newest(self, collection: Collection) -> Collection:
        """The collection's row as it was last read, at most about a second ago; no look at the database."""
        ...

    def wait_for(self, collection: Collection, seq: int, timeout_s: float) -> bool:
        """True once the view has applied `seq`."""
        ...
