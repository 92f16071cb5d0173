"""Ranked documents with the rows that the database shows for them now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.fusion import Component, FusedHit
from core.index_types import PassageRow
from core.ports.stores import DocumentStore
from core.types import Collection, Float16, Float32

Ranker = Callable[
    [int], list[FusedHit]
]  # at most so many documents, best first; fewer only if no more answer


@dataclass(frozen=True, slots=True)
class LiveHit:
    """A ranked document with the passage that is shown for it; `rerank` if another model ordered the hits."""

    ranked: FusedHit
    row: PassageRow
    rerank: Component | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LiveHits:
    """Reads the rows of ranked documents. A view may be a moment behind the database:

    a document replaced since is shown by its present passages; one deleted since is dropped, and more are
    ranked until enough are live or no more answer. `left_out` are external ids never to be shown.
    """

    documents: DocumentStore
    collection: Collection
    vector: Float32 | None  # (d,) of the query
    is_by_vector: bool  # whether scores are of vectors alone
    left_out: frozenset[str] = field(default=frozenset())

    def read(self, ranker: Ranker, wanted: int) -> list[LiveHit]:
        """At most `wanted` hits, best first."""
        asked = wanted + len(self.left_out)
        while True:
            ranked = ranker(asked)
            live = [hit for hit in self._with_rows(ranked) if hit.row.external_id not in self.left_out]
            if len(live) >= wanted or len(ranked) < asked:
                return live[:wanted]
            asked = wanted + 2 * (asked - len(live))

    def _with_rows(self, ranked: Sequence[FusedHit]) -> list[LiveHit]:
        rows = self.documents.passages(self.collection.id, [hit.passage_id for hit in ranked])
        if len(rows) == len(ranked):
            return [LiveHit(hit, rows[hit.passage_id]) for hit in ranked]
        gone = [hit for hit in ranked if hit.passage_id not in rows]
        replaced = self._replaced(gone)
        hits = [
            replaced.get(hit.document_id)
            if hit.passage_id not in rows
            else LiveHit(hit, rows[hit.passage_id])
            for hit in ranked
        ]
        live = [hit for hit in hits if hit is not None]
        if replaced and self.is_by_vector:
            return sorted(live, key=lambda hit: (-hit.ranked.score, hit.ranked.passage_id))
        return live

    def _replaced(self, gone: Sequence[FusedHit]) -> dict[int, LiveHit]:
        """Document id -> hit by the best of its present passages, for those that are still searchable."""
        present = self.documents.replacements(self.collection.id, [hit.document_id for hit in gone])
        return {
            hit.document_id: self._by_present(hit, *present[hit.document_id])
            for hit in gone
            if hit.document_id in present
        }

    def _by_present(self, hit: FusedHit, rows: Sequence[PassageRow], vectors: Float16) -> LiveHit:
        """By vectors alone the score is that of the present passages; words were counted in the old ones."""
        if self.vector is None:
            return LiveHit(replace(hit, passage_id=rows[0].passage_id), rows[0])
        scores = vectors.astype(np.float32) @ self.vector  # (passages,)
        row = rows[int(scores.argmax())]
        hit = replace(hit, passage_id=row.passage_id)
        if self.is_by_vector and hit.dense is not None:
            score = float(scores.max())
            hit = replace(hit, score=score, dense=Component(score, hit.dense.rank))
        return LiveHit(hit, row)
