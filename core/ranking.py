"""Which documents of a view answer a search, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.document_set import DocumentSet
from core.fusion import Component, Fusion, FusedHit, fuse, pool_size
from core.ports import IndexView
from core.search_request import Mode, WeightedQuery
from core.types import Float32, IndexHit


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is looked for: `vector` (d,) float32 unless the mode is lexical, and weighted texts."""

    mode: Mode
    fusion: Fusion
    vector: Float32 | None
    texts: tuple[WeightedQuery, ...]


def combined(vectors: Float32, weights: Sequence[float]) -> Float32:
    """(d,) sum of unit `vectors` (n, d) by weights whose sizes add up to 1.

    As inner products are linear, the score of a passage is the weighted mean of its scores.
    """
    scale = np.asarray(weights, dtype=np.float32) / float(np.abs(weights).sum())
    return np.asarray(scale @ vectors, dtype=np.float32)


def rank(view: IndexView, subject: Subject, wanted: int, allowed: DocumentSet | None) -> list[FusedHit]:
    """At most `wanted` documents, best first; fewer only if no more answer.

    A search by vectors is answered by every document, one by words by those that hold any of them.
    """
    match subject.mode:
        case Mode.DENSE:
            return [_dense_only(hit, place) for place, hit in enumerate(_dense(view, subject, wanted, allowed), 1)]
        case Mode.LEXICAL:
            found = lexical_hits(view, subject.texts, wanted, allowed)
            return [_lexical_only(hit, place) for place, hit in enumerate(found, 1)]
        case Mode.HYBRID:
            return _hybrid(view, subject, wanted, allowed)


def lexical_hits(
    view: IndexView, texts: Sequence[WeightedQuery], k: int, allowed: DocumentSet | None
) -> list[IndexHit]:
    """At most k documents by BM25; of several texts the weighted mean, over the best k of each."""
    if len(texts) == 1:
        return view.lexical(texts[0].text, k, allowed)
    found = {
        hit.document_id: hit.passage_id
        for one in texts
        if one.weight > 0
        for hit in view.lexical(one.text, k, allowed)
    }
    documents = np.fromiter(found, dtype=np.int64, count=len(found))
    size = sum(abs(one.weight) for one in texts)
    totals = dict.fromkeys(found, 0.0)
    for one in texts:
        for hit in view.lexical_scores(one.text, documents):
            totals[hit.document_id] += one.weight / size * hit.score
    hits = [IndexHit(document, found[document], total) for document, total in totals.items()]
    return sorted(hits, key=lambda hit: (-hit.score, hit.passage_id))[:k]


def _hybrid(
    view: IndexView, subject: Subject, wanted: int, allowed: DocumentSet | None
) -> list[FusedHit]:
    """The best of each side, each with its exact score on the other side, fused."""
    pool = pool_size(wanted)
    dense = _dense(view, subject, pool, allowed)
    lexical = lexical_hits(view, subject.texts, pool, allowed)
    raise NotImplementedError


def _dense(view: IndexView, subject: Subject, k: int, allowed: DocumentSet | None) -> list[IndexHit]:
    assert subject.vector is not None
    return view.dense(subject.vector[None], k, allowed)[0]
