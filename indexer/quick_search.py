"""The search made most: one query among all rows of one graph. Hardly any code surrounds that of FAISS."""

from __future__ import annotations

from core.index_types import IndexHit
from core.types import Float32
from indexer.ann_search import ROWS_PER_STEP
from indexer.exact import Alive
from indexer.main_index import MainIndex


class QuickSearch:
    """The best documents of a graph whose rows all live and are those of its vectors.

    Going through a graph leaves nothing else in the caches of a processor, so that every line of Python after
    it takes ten times as long as by itself: hence a way of its own beside `View.search`, which decides
    whatever is not plain.
    """

    __slots__ = ("_document_ids", "_enough", "_most", "_passage_ids", "_search")

    def __init__(self, main: MainIndex) -> None:
        self._search = main.ann.search_all
        self._enough = main.by_document.enough
        self._passage_ids, self._document_ids = main.passage_ids, main.document_ids
        self._most = main.n // ROWS_PER_STEP - 1

    @classmethod
    def of(cls, rows: object, alive: Alive) -> QuickSearch | None:
        """None where the rows are no such graph, or so few that comparing all of them is faster."""
        if not isinstance(rows, MainIndex) or rows.is_exact or not rows.is_lossless:
            return None
        is_small = rows.ann.is_scan_cheaper(1, alive)
        return None if is_small or alive.selector is not None else cls(rows)

    def search(self, xq: Float32, k: int, wide: int = 0) -> list[IndexHit] | None:
        """At most k documents for a checked `xq` (1, d), best first; None if that takes another look.

        It does where two passages have one score or one document. The graph is searched for `wide` documents
        if these are more.
        """
        fetch = self._enough(max(k, wide))
        if fetch > self._most:
            return None
        D, I = self._search(xq, fetch)  # noqa: N806, E741
        looked = fetch if k >= wide else k + 1  # whether the last shown is one of two is told by the next
        rows = I[0, :looked]
        scores, documents = D[0, :looked].tolist(), self._document_ids[rows].tolist()
        if not len(set(scores)) == len(set(documents)) == looked or I[0, -1] < 0:
            return None
        passages = self._passage_ids[rows[:k]].tolist()
        return list(map(IndexHit, documents, passages, scores))
