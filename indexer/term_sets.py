"""The distinct terms of each passage, in memory: what share of a query a passage covers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

from core.index_types import IndexHit, LogEntry
from core.types import Int64
from indexer.lexical_analyzer import Analyzer

Terms = npt.NDArray[np.uint32]
Arrays = Mapping[str, npt.NDArray[Any]]
_Passages: TypeAlias = tuple[tuple[int, bytes], ...]  # id and terms of each


class TermSets:
    """Terms of the passages of one collection, as 32-bit checksums: about 0.3 kB a passage.

    That two words share a checksum (1 in 4 billion pairs) would count a word as covered that is not there.
    One thread applies entries while others read. Content of passages never changes, so a reader of an older
    state finds the same; of a document removed meanwhile it finds nothing, as the database does.
    """

    def __init__(self, analyzer: Analyzer, arrays: Arrays | None = None) -> None:
        """`arrays` as `arrays` gave them. Raises ValueError if they do not fit each other."""
        self._analyzer = analyzer
        self._passages = {} if arrays is None else _unpacked(arrays)  # document id -> its passages
        self._size = sum(map(_size, self._passages.values()))

    @property
    def bytes(self) -> int:
        """Memory, about."""
        return self._size

    def apply(self, entries: Sequence[LogEntry]) -> None:
        """An entry replaces its document's passages; those known already are not read again."""
        for entry in entries:
            before = self._passages.get(entry.document_id, ())
            ids = entry.passage_ids.tolist()
            if [passage_id for passage_id, _ in before] == ids:
                continue
            texts = entry.texts or ("",) * len(ids)
            after = tuple(
                (passage_id, _checksums(self._analyzer.terms(f"{entry.title}\n{text}")).tobytes())
                for passage_id, text in zip(ids, texts, strict=True)
            )
            self._size += _size(after) - _size(before)
            if after:
                self._passages[entry.document_id] = after
            else:
                self._passages.pop(entry.document_id, None)

    def coverage(self, worth: Mapping[str, float], document_ids: Int64) -> list[IndexHit]:
        """The passage of each document (n,) that holds words of most worth, of those that hold any.

        `worth` is of each word; the score is the share of the total, in (0, 1]. Of equal passages the first.
        """
        found = [
            (document, passage, terms)
            for document in document_ids.tolist()
            for passage, terms in self._passages.get(document, ())
        ]
        total = sum(worth.values())
        if not found or total <= 0:
            return []
        shares = _sums([terms for _, _, terms in found], worth) / total
        best: dict[int, IndexHit] = {}
        for (document, passage, _), share in zip(found, shares.tolist(), strict=True):
            if share > 0 and (document not in best or share > best[document].score):
                best[document] = IndexHit(document, passage, min(share, 1.0))
        return list(best.values())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The present state for a snapshot; not to be called while entries are applied."""
        rows = [
            (document, passage, len(terms) // 4)
            for document, passages in self._passages.items()
            for passage, terms in passages
        ]
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return {
            "document_ids": table[:, 0],
            "passage_ids": table[:, 1],
            "lengths": table[:, 2],
            "terms": np.frombuffer(
                b"".join(terms for passages in self._passages.values() for _, terms in passages), np.uint32
            ),
        }


def _size(passages: _Passages) -> int:
    """Bytes of the terms, and of the objects around them."""
    return sum(200 + len(terms) for _, terms in passages)


def _checksums(words: Iterable[str]) -> Terms:
    """Of each distinct word, in the order of their first occurrence."""
    return np.array([crc32(word.encode()) for word in dict.fromkeys(words)], dtype=np.uint32)


def _sums(passages: Sequence[bytes], worth: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """(n,) worth of the words that each passage holds."""
    keys = _checksums(worth)
    order = np.argsort(keys)
    keys, values = keys[order], np.fromiter(worth.values(), dtype=np.float64, count=len(worth))[order]
    terms = np.frombuffer(b"".join(passages), dtype=np.uint32)
    places = np.searchsorted(keys, terms).clip(max=len(keys) - 1)
    hits = np.flatnonzero(keys[places] == terms)
    ends = np.cumsum([len(passage) // 4 for passage in passages])
    rows = np.searchsorted(ends, hits, side="right")
    return np.bincount(rows, weights=values[places[hits]], minlength=len(passages)).astype(np.float64)


def _unpacked(arrays: Arrays) -> dict[int, _Passages]:
    documents, passages, lengths = (arrays[name] for name in ("document_ids", "passage_ids", "lengths"))
    if not len(documents) == len(passages) == len(lengths) or int(lengths.sum()) != len(arrays["terms"]):
        raise ValueError("the terms of passages are not whole")
    data, start = arrays["terms"].tobytes(), 0
    found: dict[int, list[tuple[int, bytes]]] = {}
    for document, passage, length in zip(
        documents.tolist(), passages.tolist(), lengths.tolist(), strict=True
    ):
        stop = start + 4 * length
        found.setdefault(document, []).append((passage, data[start:stop]))
        start = stop
    return {document: tuple(parts) for document, parts in found.items()}
