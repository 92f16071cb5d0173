"""Coverage is the share of a query's idf that a passage holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from core.index_types import LogEntry
from indexer.lexical import LexicalIndex
from indexer.lexical_analyzer import analyzer_of
from indexer.lexical_view import LexicalView
from indexer.term_sets import TermSets

TEXTS = (
    ("red apples", "green apples and green pears"),
    ("a red fox",),
    ("red wine", "red red red"),
    ("nothing of it",),
)


ENTRIES = [
    LogEntry(
        document_id=i,
        seq=i + 1,
        passage_ids=np.arange(10 * i, 10 * i + len(texts), dtype=np.int64),
        vectors=np.zeros((len(texts), 2), dtype=np.float16),
        texts=texts,
    )
    for i, texts in enumerate(TEXTS)
]


@dataclass
class Both:
    """What SearchIndex holds of words; document i holds the passages 10 i, 10 i + 1, ..."""

    words: LexicalView
    terms: TermSets


@pytest.fixture
def view(tmp_path: Path) -> Both:
    index, terms = LexicalIndex(tmp_path / "words", "en"), TermSets(analyzer_of("en"))
    index.apply(ENTRIES)
    terms.apply(ENTRIES)
    return Both(index.publish(), terms)


def idf(n: int, passages: int = 6) -> float:
    return math.log(1 + (passages - n + 0.5) / (n + 0.5))


def shares(view: Both, query: str, *documents: int) -> dict[int, tuple[int, float]]:
    hits = view.terms.coverage(view.words.worth(query), np.array(documents, dtype=np.int64))
    return {hit.document_id: (hit.passage_id, hit.score) for hit in hits}


def test_it_equals_its_formula(view: Both) -> None:
    red, apple, pear = idf(4), idf(2), idf(1)
    total = red + apple + pear
    found = shares(view, "red apples, pears", 0, 1, 2, 3)
    assert found.keys() == {0, 1, 2}
    assert {document: passage for document, (passage, _) in found.items()} == {0: 1, 1: 10, 2: 20}
    assert found[0][1] == pytest.approx((apple + pear) / total, rel=1e-5)  # more than "red apples" has
    assert found[1][1] == pytest.approx(red / total, rel=1e-5)
    assert found[2][1] == found[1][1]  # how often does not count


def test_a_word_of_no_passage_lowers_all_shares(view: Both) -> None:
    found = shares(view, "red unicorn", 1)
    assert found[1][1] == pytest.approx(idf(4) / (idf(4) + idf(0)), rel=1e-5)


def test_a_word_that_the_query_repeats_counts_as_often(view: Both) -> None:
    found = shares(view, "red red fox", 1, 2)
    assert found[1][1] == pytest.approx(1.0, rel=1e-5)
    assert found[2][1] == pytest.approx(2 * idf(4) / (2 * idf(4) + idf(1)), rel=1e-5)


def test_only_the_documents_asked_for_answer(view: Both) -> None:
    assert shares(view, "red", 2, 3, 99).keys() == {2}
    assert shares(view, "red") == {}
    assert shares(view, "?!", 0, 1) == {}


def test_shares_never_exceed_1(view: Both) -> None:
    for query in ("red", "red apples", "a red fox", "green apples and green pears"):
        assert all(0 < score <= 1 for _, score in shares(view, query, 0, 1, 2, 3).values())


def test_changed_and_removed_documents_are_covered_as_they_are_now(view: Both) -> None:
    changed = replace(ENTRIES[1], passage_ids=np.array([77]), texts=("a blue fox",))
    removed = replace(ENTRIES[2], passage_ids=np.empty(0, np.int64), texts=())
    size = view.terms.bytes
    view.terms.apply([changed, removed])
    assert view.terms.bytes < size
    assert shares(view, "red", 0, 1, 2).keys() == {0}
    ((passage, share),) = shares(view, "fox", 1).values()
    assert passage == 77
    assert share == pytest.approx(1.0)


def test_arrays_hold_everything_and_are_checked(view: Both) -> None:
    arrays = view.terms.arrays()
    again = TermSets(analyzer_of("en"), arrays)
    everything = np.arange(4)
    worth = view.words.worth("red apples pears nothing")
    assert again.coverage(worth, everything) == view.terms.coverage(worth, everything)
    assert again.bytes == view.terms.bytes
    for name in ("passage_ids", "lengths", "terms"):
        with pytest.raises(ValueError, match="not whole"):
            TermSets(analyzer_of("en"), arrays | {name: arrays[name][:-1]})


def test_many_words_and_many_documents_agree_with_sets() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{i}x" for i in range(400)]
    texts = {i: rng.choice(words, rng.integers(1, 60)).tolist() for i in range(300)}
    terms = TermSets(analyzer_of("xh"))  # a language without a stemmer
    terms.apply(
        [
            replace(ENTRIES[0], document_id=i, passage_ids=np.array([i]), texts=(" ".join(text),))
            for i, text in texts.items()
        ]
    )
    worth = {word: float(rng.random()) for word in rng.choice(words, 200, replace=False).tolist()}
    found = {hit.document_id: hit.score for hit in terms.coverage(worth, np.arange(300))}
    total = sum(worth.values())
    expected = {i: sum(worth.get(word, 0.0) for word in set(text)) / total for i, text in texts.items()}
    assert found == pytest.approx({i: share for i, share in expected.items() if share})
