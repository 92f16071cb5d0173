"""Use case explain: a similarity as exact contributions of tokens, words and sentences.

The encoder's embedding is a plain sum over its tokens, e = sum_i p_i with p_i = c_i / |u| (Touvron et al.
2021, section 3, without biases), so a score splits without remainder:
e_q · e_p = sum_i (e_q · p_i) = sum_ij q_j · p_i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.documents import check_text
from core.errors import InvalidInput, NotFound
from core.ports.models import PartsEncoder
from core.ports.stores import DocumentStore
from core.types import Collection, Float32, PassageText, Span, TokenField, TokenParts

MAX_TEXT_BYTES = 1024 * 1024
HIGHLIGHT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Contribution:
    """Part of the score that stands at [start, end) of the title or text; special tokens have no place."""

    text: str
    field: TokenField
    start: int
    end: int
    contribution: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Contributions of `tokens` add up to `score`, so do `words`, `sentences` and `query_tokens`.

    `matrix` (query tokens, tokens) adds up to it too: its rows to `query_tokens`, its columns to `tokens`.
    """

    score: float
    tokens: tuple[Contribution, ...]
    words: tuple[Contribution, ...]
    sentences: tuple[Contribution, ...]
    query_tokens: tuple[Contribution, ...]
    matrix: Float32


@dataclass(frozen=True, slots=True)
class ExplainedPassage:
    """The passage an explanation is about; offsets of contributions count from its beginning."""

    passage: PassageText
    span: Span
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class ExplainService:
    """`sentence_starts` gives the offsets at which sentences of a text begin."""

    encoder: PartsEncoder
    documents: DocumentStore
    sentence_starts: Callable[[str], Sequence[int]]

    def explain_text(self, query: str, passage: PassageText) -> ExplainedPassage:
        """Why the query and the passage are as near as they are. Raises InvalidInput.

        A text longer than the encoder reads is explained as far as it is read.
        """
        for name, text in (("query", query), ("text", passage.text)):
            if not text.strip():
                raise InvalidInput(f"{name!r} is empty; there is nothing to explain.")
            if len(check_text(text, repr(name))) > MAX_TEXT_BYTES:
                raise InvalidInput(f"{name!r} is over the limit of {MAX_TEXT_BYTES:,} bytes.")
        check_text(passage.title, "'title'")
        (explanation,) = self.explain_passages(query, [passage], [None])
        return ExplainedPassage(passage, Span(0, len(passage.text)), explanation)

    def explain_document(self, query: str, collection: Collection, external_id: str) -> ExplainedPassage:
        """Explains the document's passage nearest to the query. Raises NotFound, InvalidInput."""
        if not query.strip():
            raise InvalidInput("'query' is empty; there is nothing to explain.")
        check_text(query, "'query'")
        rows, vectors = self.documents.embedded_passages(collection.id, external_id)
        if not rows:
            raise NotFound(f"Document {external_id!r} is not searchable in collection {collection.name!r}.")
        query_parts = self.encoder.query_parts(query)
        scores = vectors.astype(np.float32) @ query_parts.vectors.sum(axis=0)  # (n,)
        best = rows[int(scores.argmax())]
        passage = PassageText(best.title, best.text)
        (parts,) = self.encoder.passage_parts([passage])
        explanation = self._explain(query_parts, parts, passage, float(scores.max()))
        return ExplainedPassage(passage, best.span, explanation)

    def explain_passages(
        self, query: str, passages: Sequence[PassageText], scores: Sequence[float | None]
    ) -> list[Explanation]:
        """One explanation a passage, adding up to its score if that is given; encoded together."""
        query_parts = self.encoder.query_parts(query)
        parts = self.encoder.passage_parts(passages)
        triples = zip(parts, passages, scores, strict=True)
        return [self._explain(query_parts, p, passage, score) for p, passage, score in triples]

    def _explain(
        self, query: TokenParts, parts: TokenParts, passage: PassageText, score: float | None
    ) -> Explanation:
        matrix = np.asarray(query.vectors @ parts.vectors.T, dtype=np.float32)  # (query tokens, tokens)
        if score is not None:
            matrix = adding_up_to(matrix, score)
        tokens = _contributions(parts, matrix.sum(axis=0))
        return Explanation(
            float(matrix.sum(dtype=np.float64)),
            tokens,
            _merged(tokens, passage, parts.words),
            _merged(tokens, passage, self._sentences(passage, tokens)),
            _contributions(query, matrix.sum(axis=1)),
            matrix,
        )

    def _sentences(self, passage: PassageText, tokens: Sequence[Contribution]) -> tuple[int, ...]:
        """Number of the sentence of each token; the title is one, each special token stands alone."""
        starts = [start for start in self.sentence_starts(passage.text) if start > 0]
        numbers = np.searchsorted(starts, [token.start for token in tokens], side="right") + 1
        return tuple(
            int(number)
            if token.field is TokenField.TEXT
            else 0
            if token.field is TokenField.TITLE
            else -1 - i
            for i, (number, token) in enumerate(zip(numbers, tokens, strict=True))
        )


def adding_up_to(matrix: Float32, score: float) -> Float32:
    """The matrix (q, t) with the rounding of stored vectors spread by the size of its entries."""
    sizes = np.abs(matrix)
    error = score - float(matrix.sum(dtype=np.float64))
    return np.asarray(
        matrix + error * sizes / max(float(sizes.sum(dtype=np.float64)), 1e-12), dtype=np.float32
    )


def highlights_of(explanation: Explanation) -> tuple[Span, ...]:
    """The words of the text that carry most: the best ones that together make half of what is positive."""
    of_text = [w for w in explanation.words if w.field is TokenField.TEXT and any(map(str.isalnum, w.text))]
    words = [word for word in of_text if word.contribution > 0]
    words.sort(key=lambda word: -word.contribution)
    total, chosen, reached = sum(word.contribution for word in words), [], 0.0
    for word in words:
        if reached >= HIGHLIGHT_SHARE * total:
            break
        chosen.append(Span(word.start, word.end))
        reached += word.contribution
    return tuple(sorted(chosen, key=lambda span: span.start))


def _contributions(parts: TokenParts, values: Float32) -> tuple[Contribution, ...]:
    return tuple(
        Contribution(token.text, token.field, token.start, token.end, float(value))
        for token, value in zip(parts.tokens, values, strict=True)
    )


def _merged(
    tokens: Sequence[Contribution], passage: PassageText, groups: Sequence[int]
) -> tuple[Contribution, ...]:
    """Neighbours of the same group number and field as one."""
    merged: list[Contribution] = []
    last: tuple[int, TokenField] | None = None
    for token, group in zip(tokens, groups, strict=True):
        if merged and last == (group, token.field):
            merged[-1] = _joined(merged[-1], token, passage)
        else:
            merged.append(token)
        last = (group, token.field)
    return tuple(merged)


def _joined(a: Contribution, b: Contribution, passage: PassageText) -> Contribution:
    source = passage.title if a.field is TokenField.TITLE else passage.text
    start, end = min(a.start, b.start), max(a.end, b.end)
    return Contribution(source[start:end], a.field, start, end, a.contribution + b.contribution)
