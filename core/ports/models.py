"""Ports of models: texts to vectors, labels and relevance. Shapes: n items, d dimensions of a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from core.label_types import Classification, Label, ZeroShotOptions
from core.token_types import TokenizedPassage, TokenParts
from core.types import EncoderInfo, Float32, Float64, Int32, Int64, Lane, PassageText, RerankerInfo


class TokenSpans(Protocol):
    """Token boundaries of texts, without special tokens and without truncation."""

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        """One (t, 2) array a text: character offsets [start, end) of its t tokens."""
        ...


class TokenEncoder(Protocol):
    """Vectors of tokens that are already ids of this encoder's vocabulary."""

    @property
    def info(self) -> EncoderInfo: ...

    @property
    def at_once(self) -> int:
        """Tokens of the longest input that is read in one window; longer ones are mixed of several."""
        ...

    @property
    def batch_tokens(self) -> int:
        """Tokens that are computed at once, of many inputs together."""
        ...

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def pooling(self) -> str:
        """How states of tokens become one vector: `cls` (class attention too) or `mean`."""
        ...

    def tokenize(self, texts: Sequence[str]) -> list[Int32]:
        """One (t,) array a text, special tokens included, not truncated."""
        ...

    def encode_tokens(self, token_ids: Sequence[Int32], lane: Lane) -> Float32:
        """(n, d) float32, unit rows; longer inputs than the encoder reads are cut, their last token kept."""
        ...


class Encoder(TokenSpans, Protocol):
    """Texts to unit vectors. Queries and passages go through different methods: prompts may differ."""

    @property
    def info(self) -> EncoderInfo: ...

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        """(n, d) float32, rows of unit length, in the order of `texts`."""
        ...

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        """(n, d) float32, rows of unit length, in the order of `passages`."""
        ...


class Reranker(TokenSpans, Protocol):
    """Relevance of passages to one query, for putting few of them into order."""

    @property
    def info(self) -> RerankerInfo: ...

    def room(self, query: str) -> int:
        """How many tokens of a passage are read beside this query; the rest is cut from its end."""
        ...

    def score(self, query: str, passages: Sequence[PassageText], lane: Lane) -> Float32:
        """(n,) float32 in the order of `passages`, higher is more relevant.

        Logits of a cross-encoder, cosines of a bi-encoder.
        """
        ...


class PassageEncoder(Encoder, Protocol):
    """Passages in two steps: how long they are is known before they are encoded."""

    def tokenize_passages(self, passages: Sequence[PassageText]) -> list[TokenizedPassage]:
        """In the order of `passages`."""
        ...

    def encode_tokenized(self, passages: Sequence[TokenizedPassage], lane: Lane = Lane.BULK) -> Float32:
        """(n, d) float32, as `encode_passages` gives them: longer ones than the encoder reads are cut."""
        ...


class PartsEncoder(Protocol):
    """Embeddings split over their tokens. Raises InvalidInput when the encoder's pooling is no sum."""

    def query_parts(self, text: str) -> TokenParts: ...

    def passage_parts(self, passages: Sequence[PassageText]) -> list[TokenParts]: ...


class RankingScorer(Protocol):
    """Measures of rankings against judgements, by the names that ir-measures gives them (nDCG@10, R@100)."""

    def values(
        self,
        measures: Sequence[str],
        relevance: Sequence[Mapping[str, int]],
        rankings: Sequence[Sequence[str]],
    ) -> dict[str, Float64]:
        """Measure -> its value (n,) for each of n queries, from judged grades and ranked ids, best first."""
        ...

    def p_value(self, ours: Float64, theirs: Float64) -> float:
        """Of the hypothesis that two systems, measured (n,) and (n,) on the same queries, do not differ."""
        ...


class LabelScorer(Protocol):
    def classify(self, texts: Sequence[str], labels: Sequence[Label]) -> list[Classification]: ...


class ZeroShotModel(Protocol):
    def classify(
        self, texts: Sequence[str], labels: Sequence[Label], options: ZeroShotOptions
    ) -> list[Classification]: ...
