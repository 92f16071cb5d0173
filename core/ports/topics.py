"""Ports of topics. Shapes: n vectors of d dimensions in k groups."""

from __future__ import annotations

from typing import Protocol

from core.types import Float32, Int64


class DocumentTexts(Protocol):
    def rows(self, collection_id: int, document_ids: Int64) -> dict[int, tuple[str, str, str]]:
        """Document id -> (external id, title, text) of searchable ones."""
        ...


class Clusterer(Protocol):
    """Groups unit vectors by direction. Gives way to searches; equal input gives equal output."""

    def centroids(self, vectors: Float32, k: int) -> Float32:
        """(k, d) unit centres of groups of `vectors` (n, d), 1 <= k <= n."""
        ...

    def nearest(self, vectors: Float32, centroids: Float32) -> tuple[Int64, Float32]:
        """Which of `centroids` (k, d) is nearest to each of `vectors` (n, d); their inner products (n,)."""
        ...
