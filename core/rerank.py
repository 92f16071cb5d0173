"""Use case rerank: scores of passages or whole documents for one query, by a cross-encoder or the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.documents import check_text
from core.errors import InvalidInput, TooLarge
from core.ports.models import Encoder, Reranker
from core.types import Float32, Int64, Lane, PassageText, RerankerInfo

BULK_FROM_PAIRS = 33
_SPECIAL_TOKENS = 2  # around a text of its own


@dataclass(frozen=True, slots=True)
class RerankLimits:
    max_documents: int = 10_000
    max_pairs: int = 10_000
    max_query_bytes: int = 32_768
    max_document_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LongDocuments:
    """What is done with documents longer than the reranker reads at once.

    Each is cut into chunks of what fits beside the query, at most `max_chunks` of them and `max_tokens`
    tokens, None for any number; its score is that of the best chunk. Or it `is_refused`. `noun` is what the
    caller calls a document.
    """

    max_tokens: int | None = None
    max_chunks: int | None = None
    is_refused: bool = False
    noun: str = "document"


@dataclass(frozen=True, slots=True)
class Ranking:
    """`scores` (n,) float32 by document, as the reranker gives them; `order` of the documents, best first.

    `pairs` scored, `tokens` read of the query and the documents; documents whose end was not read.
    """

    scores: Float32
    order: tuple[int, ...]
    pairs: int
    tokens: int
    truncated: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RerankService:
    reranker: Reranker
    limits: RerankLimits

    def rerank(self, query: str, passages: Sequence[PassageText], lane: Lane | None = None) -> Float32:
        """(n,) float32, higher is more relevant; what a passage has beyond the reranker's length is cut.

        Without a `lane`, up to 32 passages go to the interactive one, more to the bulk one.
        """
        if not passages:
            return np.empty(0, np.float32)
        return self.reranker.score(query, passages, lane or lane_for(len(passages)))

    def relevance(self, scores: Float32) -> Float32:
        """Scores mapped to 0..1 without changing their order.

        Of a cross-encoder's logits the logistic function, of a bi-encoder's cosines (1 + cosine) / 2.
        """
        x = scores.astype(np.float64)
        if self.reranker.info.is_bi_encoder:
            return np.asarray(np.clip((1 + x) / 2, 0, 1), np.float32)
        return np.asarray(0.5 * (1 + np.tanh(x / 2)), np.float32)  # 1 / (1 + e^-x), which cannot overflow

    def rank(self, query: str, documents: Sequence[str], long: LongDocuments) -> Ranking:
        """Scores of whole documents, and their order; the earlier of two equal ones is first.

        Raises InvalidInput and TooLarge naming what is at fault and the limit.
        """
        self._check(query, documents, long.noun)
        spans = self.reranker.token_spans(documents)
        room = self.reranker.room(query)
        plans = [chunk_spans(s, room, long) for s in spans]
        truncated = tuple(i for i, (plan, s) in enumerate(zip(plans, spans, strict=True)) if _is_cut(plan, s))
        self._check_plans(plans, spans, room, long)
        passages = [PassageText("", text) for text in _chunk_texts(documents, spans, plans)]
        by_chunk = self.rerank(query, passages)
        starts = np.cumsum([0] + [len(plan) for plan in plans[:-1]])
        scores = np.asarray(np.maximum.reduceat(by_chunk, starts), np.float32)
        read = sum(end - start for plan in plans for start, end in plan)
        tokens = len(self.reranker.token_spans([query])[0]) + read
        order = tuple(np.argsort(-scores, kind="stable").tolist())
        return Ranking(scores, order, len(passages), tokens, truncated)

    def _check(self, query: str, documents: Sequence[str], noun: str) -> None:
        limits = self.limits
        size = len(check_text(query, "'query'"))
        if not query.strip():
            raise InvalidInput("'query' is empty; say what to rank by.")
        if size > limits.max_query_bytes:
            raise TooLarge(f"'query' has {size:,} bytes; the limit is {limits.max_query_bytes:,}.")
        check_count(len(documents), noun, limits)
        for i, document in enumerate(documents):
            size = len(check_text(document, f"{noun} {i}"))
            if size > limits.max_document_bytes:
                raise TooLarge(
                    f"{noun.capitalize()} {i} has {size:,} bytes; the limit is {limits.max_document_bytes:,}."
                )

    def _check_plans(
        self, plans: Sequence[list[tuple[int, int]]], spans: Sequence[Int64], room: int, long: LongDocuments
    ) -> None:
        if long.is_refused and (too_long := [i for i, s in enumerate(spans) if len(s) > room]):
            i = too_long[0]
            raise TooLarge(
                f"{long.noun.capitalize()} {i} has {len(spans[i]):,} tokens; beside this query {room:,} are"
                " read. Shorten it, or ask for truncation."
            )
        pairs = sum(len(plan) for plan in plans)
        if pairs > self.limits.max_pairs:
            raise TooLarge(
                f"The {len(plans):,} {long.noun}s make {pairs:,} chunks of {room:,} tokens;"
                f" {self.limits.max_pairs:,} are scored in a call. Send fewer or shorter ones, or read less"
                " of each."
            )


@dataclass(frozen=True, slots=True)
class BiEncoderReranker:
    """Implements core.ports.Reranker by the similarity of the encoder's embeddings.

    Chunks have at most the `at_once` tokens that the encoder reads in one window: what comes later in a
    longer text counts less, which is right for the end of a document and wrong for the end of a chunk.
    """

    encoder: Encoder
    at_once: int

    @property
    def info(self) -> RerankerInfo:
        encoder = self.encoder.info
        return RerankerInfo(f"{encoder.id}-rerank", encoder.fingerprint, self.at_once, True)

    def room(self, query: str) -> int:
        """The query is read alone and takes no room."""
        return self.at_once - _SPECIAL_TOKENS

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        return self.encoder.token_spans(texts)

    def score(self, query: str, passages: Sequence[PassageText], lane: Lane) -> Float32:
        """Cosines (n,) float32."""
        q = self.encoder.encode_queries([query], lane)[0]  # (d,)
        return np.asarray(self.encoder.encode_passages(passages, lane) @ q, np.float32)


def check_count(documents: int, noun: str, limits: RerankLimits) -> None:
    """Raises InvalidInput for none, or more than a call may have."""
    if not 1 <= documents <= limits.max_documents:
        raise InvalidInput(f"{documents:,} {noun}s were sent; 1 to {limits.max_documents:,} fit in a call.")


def lane_for(pairs: int) -> Lane:
    return Lane.BULK if pairs >= BULK_FROM_PAIRS else Lane.INTERACTIVE


def chunk_spans(spans: Int64, room: int, long: LongDocuments) -> list[tuple[int, int]]:
    """Token ranges [start, end) of the chunks of one document whose tokens lie at `spans` (t, 2).

    They follow each other without overlap and end between words where there is such a place in their second
    half. A document without tokens is one empty chunk.
    """
    tokens = len(spans) if long.max_tokens is None else min(len(spans), long.max_tokens)
    chunks: list[tuple[int, int]] = []
    start = 0
    while start < tokens and (long.max_chunks is None or len(chunks) < long.max_chunks):
        end = min(start + room, tokens)
        if end < tokens:
            end = _word_end(spans, start + room // 2, end)
        chunks.append((start, end))
        start = end
    return chunks or [(0, 0)]


def _word_end(spans: Int64, first: int, last: int) -> int:
    """The largest token number in (first, last] before which there is a gap in the text, else `last`."""
    for end in range(last, max(first, 0), -1):
        if spans[end, 0] > spans[end - 1, 1]:
            return end
    return last


def _is_cut(plan: list[tuple[int, int]], spans: Int64) -> bool:
    return plan[-1][1] < len(spans)


def _chunk_texts(
    documents: Sequence[str], spans: Sequence[Int64], plans: Sequence[list[tuple[int, int]]]
) -> Iterator[str]:
    for document, s, plan in zip(documents, spans, plans, strict=True):
        for start, end in plan:
            yield document[s[start, 0] : s[end - 1, 1]] if end > start else ""
