"""Which documents of a view answer a search, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.document_set import DocumentSet
from core.fusion import Component, Found, FusedHit, Fusion, fuse, missing, window
from core.index_types import IndexHit
from core.ports.indexes import IndexView
from core.search_request import Mode, WeightedQuery
from core.types import Float32, Int64

CANDIDATES = 10_000  # by words of each of several texts


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is looked for: `vector` (d,) float32 unless the mode is lexical, and weighted texts."""

    mode: Mode
    fusion: Fusion
    vector: Float32 | None
    texts: tuple[WeightedQuery, ...]
    is_reranked: bool = False


def combined(vectors: Float32, weights: Sequence[float]) -> Float32:
    """(d,) sum of unit `vectors` (n, d) by weights whose sizes add up to 1.

    As inner products are linear, the score of a passage is the weighted mean of its scores.
    """
    if len(vectors) == 1 and weights[0] > 0:
        return np.asarray(vectors[0], dtype=np.float32)
    scale = np.asarray(weights, dtype=np.float64) / float(np.abs(weights).sum())
    return np.asarray(scale @ vectors, dtype=np.float32)


def rank(view: IndexView, subject: Subject, wanted: int, allowed: DocumentSet | None) -> list[FusedHit]:
    """At most `wanted` documents, best first; fewer only if no more answer.

    A search by vectors is answered by every document, one by words by those that hold any of them.
    """
    match subject.mode:
        case Mode.DENSE:
            found = enumerate(_dense(view, subject, wanted, allowed), start=1)
            return [_single(hit, Component(hit.score, place), None) for place, hit in found]
        case Mode.LEXICAL:
            found = enumerate(lexical_hits(view, subject.texts, wanted, allowed), start=1)
            return [_single(hit, None, Component(hit.score, place)) for place, hit in found]
        case Mode.HYBRID:
            return fuse(*both_sides(view, subject, wanted, allowed), subject.fusion, wanted)


def lexical_hits(
    view: IndexView, texts: Sequence[WeightedQuery], k: int, allowed: DocumentSet | None
) -> list[IndexHit]:
    """At most k documents by BM25; of several texts the weighted mean, over the best 10,000 of each.

    So many whatever k is, so that a longer list continues a shorter one.
    """
    if len(texts) == 1:
        return view.lexical(texts[0].text, k, allowed)
    wanted = [one.text for one in texts if one.weight > 0]
    found = {hit.document_id for text in wanted for hit in view.lexical(text, CANDIDATES, allowed)}
    documents = np.array(sorted(found), dtype=np.int64)
    totals, passages = np.zeros(len(documents)), np.full(len(documents), -1, dtype=np.int64)
    for one, share in zip(texts, _shares(texts), strict=True):
        scores, best = view.lexical_scores(one.text, documents)
        totals += share * scores
        passages = np.where(passages < 0, best, passages)
    order = np.lexsort((passages, -totals))[:k]
    columns = (documents[order].tolist(), passages[order].tolist(), totals[order].tolist())
    return list(map(IndexHit, *columns))


def _shares(texts: Sequence[WeightedQuery]) -> list[float]:
    """Their weights, divided so that the sizes add up to 1."""
    size = sum(abs(one.weight) for one in texts)
    return [one.weight / size for one in texts]


def coverage(view: IndexView, texts: Sequence[WeightedQuery], document_ids: Int64) -> list[IndexHit]:
    """The weighted mean of the share of each text that the documents cover; others are left out.

    A text of which a document covers nothing counts as 0.
    """
    if len(texts) == 1:
        return view.coverage(texts[0].text, document_ids)
    totals: dict[int, IndexHit] = {}
    for one, share in zip(texts, _shares(texts), strict=True):
        for hit in view.coverage(one.text, document_ids):
            before = totals.get(hit.document_id)
            total = share * hit.score + (before.score if before else 0.0)
            totals[hit.document_id] = (before or hit)._replace(score=total)
    return list(totals.values())


def both_sides(
    view: IndexView, subject: Subject, wanted: int, allowed: DocumentSet | None
) -> tuple[Found, Found]:
    """What vectors and words find, each with its exact score of what only the other found.

    Words rank by BM25, and count in the fused score by the share of the query that they cover.
    """
    assert subject.vector is not None
    pool = window(wanted)
    dense = _dense(view, subject, pool, allowed)
    lexical = lexical_hits(view, subject.texts, pool, allowed)
    only_lexical = np.array(missing(dense, lexical), dtype=np.int64)
    return (
        Found(dense, view.dense_scores(subject.vector, only_lexical) if len(only_lexical) else ()),
        _covered(view, subject.texts, lexical, missing(lexical, dense)) if lexical else Found(()),
    )


def _covered(
    view: IndexView, texts: Sequence[WeightedQuery], ranked: Sequence[IndexHit], others: Sequence[int]
) -> Found:
    """The ranked hits and the other documents, scored by the share of the texts that they cover."""
    known = [hit.document_id for hit in ranked]
    shares = {hit.document_id: hit for hit in coverage(view, texts, np.array([*known, *others], np.int64))}
    scored = [shares[document] for document in others if document in shares]
    return Found([shares.get(hit.document_id) or hit._replace(score=0.0) for hit in ranked], scored)


def _dense(view: IndexView, subject: Subject, k: int, allowed: DocumentSet | None) -> list[IndexHit]:
    assert subject.vector is not None
    return view.dense(subject.vector[None], k, allowed)[0]


def _single(hit: IndexHit, dense: Component | None, lexical: Component | None) -> FusedHit:
    return FusedHit(hit.document_id, hit.passage_id, hit.score, dense, lexical)
