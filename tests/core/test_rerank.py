"""Reranking: chunks of documents, their best score, order, limits, and the encoder as a reranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput, TooLarge
from core.rerank import (
    BiEncoderReranker,
    LongDocuments,
    RerankLimits,
    RerankService,
    chunk_spans,
)
from core.types import Float32, Int64, Lane, PassageText, RerankerInfo
from tests.fakes import FakeEncoder

ROOM = 4
COUNTING = RerankerInfo("counting", "c" * 64, 8, is_bi_encoder=False)


@dataclass
class CountingReranker:
    """Scores a passage by how many of its words are in the query; reads `ROOM` words of it."""

    info: RerankerInfo = COUNTING
    passages: list[str] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)

    def room(self, query: str) -> int:
        return ROOM

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        return FakeEncoder().token_spans(texts)

    def score(self, query: str, passages: Sequence[PassageText], lane: Lane) -> Float32:
        self.passages += [passage.text for passage in passages]
        self.lanes.append(lane)
        wanted = set(query.split())
        return np.array([sum(w in wanted for w in p.text.split()[:ROOM]) for p in passages], np.float32)


def service(reranker: CountingReranker | None = None) -> RerankService:
    return RerankService(reranker or CountingReranker(), RerankLimits(max_documents=50, max_pairs=60))


def test_documents_are_ordered_by_their_best_chunk() -> None:
    reranker = CountingReranker()
    documents = ["no no", "a no no no no a b c", "a b", "", "a b"]
    ranking = service(reranker).rank("a b c", documents, LongDocuments())
    assert ranking.scores.tolist() == [0, 3, 2, 0, 2]
    assert ranking.order == (1, 2, 4, 0, 3)
    assert reranker.passages == ["no no", "a no no no", "no a b c", "a b", "", "a b"]
    assert (ranking.pairs, ranking.tokens, ranking.truncated) == (6, 3 + 14, ())


def test_what_is_not_read_is_told() -> None:
    document = "no no no no no no no no a"
    for reading, read in [(LongDocuments(max_chunks=2), 8), (LongDocuments(max_tokens=3), 3)]:
        ranking = service().rank("a", ["a", document], reading)
        assert ranking.scores.tolist() == [1, 0]
        assert ranking.truncated == (1,)
        assert ranking.tokens == 1 + 1 + read
    with pytest.raises(TooLarge, match="Document 1 has 9 tokens; beside this query 4 are read"):
        service().rank("a", ["a", document], LongDocuments(max_chunks=1, is_refused=True))


@given(
    st.lists(st.sampled_from(["a", "bb", ",", " ", "   "]), max_size=60),
    st.integers(1, 9),
    st.none() | st.integers(1, 20),
    st.none() | st.integers(1, 5),
)
def test_chunks_follow_each_other_and_fit(
    pieces: list[str], room: int, max_tokens: int | None, max_chunks: int | None
) -> None:
    (spans,) = FakeEncoder().token_spans(["".join(pieces)])
    chunks = chunk_spans(spans, room, LongDocuments(max_tokens, max_chunks))
    assert chunks[0][0] == 0
    assert all(first[1] == second[0] for first, second in pairwise(chunks))
    assert all(0 < end - start <= room for start, end in chunks) or chunks == [(0, 0)]
    if max_chunks is None:
        assert chunks[-1][1] == min(len(spans), max_tokens or len(spans))
    else:
        assert len(chunks) <= max_chunks


def test_chunks_end_between_words_where_they_can() -> None:
    (spans,) = FakeEncoder().token_spans(["one two three, four"])  # the comma is a token
    assert chunk_spans(spans, 3, LongDocuments()) == [(0, 2), (2, 5)]
    (spans,) = FakeEncoder().token_spans([",,,,,"])
    assert chunk_spans(spans, 2, LongDocuments()) == [(0, 2), (2, 4), (4, 5)]


def test_few_pairs_are_interactive_and_many_are_bulk() -> None:
    reranker = CountingReranker()
    service(reranker).rank("a", ["a"] * 32, LongDocuments())
    service(reranker).rank("a", ["a"] * 33, LongDocuments())
    service(reranker).rerank("a", [PassageText("", "a")], Lane.BULK)
    assert reranker.lanes == [Lane.INTERACTIVE, Lane.BULK, Lane.BULK]
    assert len(service(reranker).rerank("a", [])) == 0
    assert len(reranker.lanes) == 3


@pytest.mark.parametrize(
    ("query", "documents", "message"),
    [
        ("", ["a"], "'query' is empty"),
        (" \n", ["a"], "'query' is empty"),
        ("a\x00", ["a"], "NUL"),
        ("a", [], "0 documents were sent; 1 to 50 fit"),
        ("a", ["a"] * 51, "51 documents were sent; 1 to 50 fit"),
        ("a", ["a", "\ud800"], "document 1 has a lone surrogate"),
    ],
)
def test_bad_input_is_refused(query: str, documents: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        service().rank(query, documents, LongDocuments())


def test_limits_are_named() -> None:
    with pytest.raises(TooLarge, match=r"'query' has 40,000 bytes; the limit is 32,768"):
        service().rank("q" * 40_000, ["a"], LongDocuments())
    with pytest.raises(TooLarge, match=r"Document 0 has 1,048,577 bytes; the limit is 1,048,576"):
        service().rank("q", ["a" * (1024**2 + 1)], LongDocuments())
    with pytest.raises(TooLarge, match="make 75 chunks of 4 tokens; 60 are scored in a call"):
        service().rank("q", ["a " * 300], LongDocuments())


@given(st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=20))
def test_relevance_lies_between_0_and_1_and_keeps_the_order(scores: list[float]) -> None:
    logits = np.array(scores, np.float32)
    bi_encoder = RerankService(BiEncoderReranker(FakeEncoder(), at_once=16), RerankLimits())
    cosines = np.asarray(logits / 60, np.float32)
    for mapped, found in [(service().relevance(logits), logits), (bi_encoder.relevance(cosines), cosines)]:
        assert ((mapped >= 0) & (mapped <= 1)).all()
        assert (np.diff(mapped[np.argsort(found)]) >= 0).all()


def test_relevance_is_its_formula() -> None:
    bi_encoder = RerankService(BiEncoderReranker(FakeEncoder(), at_once=16), RerankLimits())
    logits, cosines = np.array([0, 2], np.float32), np.array([-1, 0, 1], np.float32)
    assert service().relevance(logits).tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    assert bi_encoder.relevance(cosines).tolist() == [0, 0.5, 1]


def test_the_encoder_reranks_by_similarity() -> None:
    encoder = FakeEncoder()
    reranker = BiEncoderReranker(encoder, at_once=12)
    assert (reranker.info.id, reranker.info.is_bi_encoder) == ("fake-rerank", True)
    assert (reranker.info.max_tokens, reranker.room("any query")) == (12, 10)
    passages = [PassageText("cat", "on a mat"), PassageText("", "stock prices")]
    expected = encoder.encode_passages(passages) @ encoder.encode_queries(["the cat"])[0]
    np.testing.assert_allclose(reranker.score("the cat", passages, Lane.BULK), expected)
    assert expected[0] > expected[1]
