"""Coverage is the share of a query's idf that a passage holds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from core.types import LogEntry
from indexer.lexical import LexicalIndex
from indexer.lexical_view import LexicalView

TEXTS = (
    ("red apples", "green apples and green pears"),
    ("a red fox",),
    ("red wine", "red red red"),
    ("nothing of it",),
)


@pytest.fixture
def view(tmp_path: Path) -> LexicalView:
    """Document i holds the passages 10 i, 10 i + 1, ..."""
    index = LexicalIndex(tmp_path / "words", "en")
    index.apply(
        [
            LogEntry(
                document_id=i,
                seq=i + 1,
                passage_ids=np.arange(10 * i, 10 * i + len(texts), dtype=np.int64),
                vectors=np.zeros((len(texts), 2), dtype=np.float16),
                texts=texts,
            )
            for i, texts in enumerate(TEXTS)
        ]
    )
    return index.publish()


def idf(n: int, passages: int = 6) -> float:
    return math.log(1 + (passages - n + 0.5) / (n + 0.5))


def shares(view: LexicalView, query: str, *documents: int) -> dict[int, tuple[int, float]]:
    hits = view.coverage(query, np.array(documents, dtype=np.int64))
    return {hit.document_id: (hit.passage_id, hit.score) for hit in hits}


def test_it_equals_its_formula(view: LexicalView) -> None:
    red, apple, pear = idf(4), idf(2), idf(1)
    total = red + apple + pear
    found = shares(view, "red apples, pears", 0, 1, 2, 3)
    assert found.keys() == {0, 1, 2}
    assert {document: passage for document, (passage, _) in found.items()} == {0: 1, 1: 10, 2: 20}
    assert found[0][1] == pytest.approx((apple + pear) / total, rel=1e-5)  # more than "red apples" has
    assert found[1][1] == pytest.approx(red / total, rel=1e-5)
    assert found[2][1] == found[1][1]  # how often does not count


def test_a_word_of_no_passage_lowers_all_shares(view: LexicalView) -> None:
    found = shares(view, "red unicorn", 1)
    assert found[1][1] == pytest.approx(idf(4) / (idf(4) + idf(0)), rel=1e-5)


def test_a_word_that_the_query_repeats_counts_as_often(view: LexicalView) -> None:
    found = shares(view, "red red fox", 1, 2)
    assert found[1][1] == pytest.approx(1.0, rel=1e-5)
    assert found[2][1] == pytest.approx(2 * idf(4) / (2 * idf(4) + idf(1)), rel=1e-5)


def test_only_the_documents_asked_for_answer(view: LexicalView) -> None:
    assert shares(view, "red", 2, 3, 99).keys() == {2}
    assert shares(view, "red") == {}
    assert shares(view, "?!", 0, 1) == {}


def test_shares_never_exceed_1(view: LexicalView) -> None:
    for query in ("red", "red apples", "a red fox", "green apples and green pears"):
        assert all(0 < score <= 1 for _, score in shares(view, query, 0, 1, 2, 3).values())
