"""Use case explain: a similarity as exact contributions of tokens, words and sentences.

The encoder's embedding is a plain sum over its tokens, e = sum_i p_i with p_i = c_i / |u| (Touvron et al.
2021, section 3, without biases), so a score splits without remainder:
e_q · e_p = sum_i (e_q · p_i) = sum_ij q_j · p_i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.documents import DocumentLimits, check_text
from core.errors import InvalidInput, NotFound
from core.ports.models import PartsEncoder
from core.ports.stores import DocumentStore
from core.search_request import SearchLimits
from core.token_types import TokenField, TokenParts
from core.types import Collection, Float32, PassageText, Span

MAX_TEXT_BYTES = DocumentLimits().max_text_bytes
MAX_TITLE_BYTES = DocumentLimits().max_title_bytes
MAX_QUERY_BYTES = SearchLimits().max_query_bytes  # of what is looked for in a collection
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
    `is_truncated`: the encoder did not read the end of the query, the title or the text.
    """

    score: float
    tokens: tuple[Contribution, ...]
    words: tuple[Contribution, ...]
    sentences: tuple[Contribution, ...]
    query_tokens: tuple[Contribution, ...]
    matrix: Float32
    is_truncated: bool


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

        A text longer than the encoder reads is explained as far as it is read, and the explanation says so.
        """
        for name, text in (("query", query), ("text", passage.text)):
            _check_told(name, text, MAX_TEXT_BYTES)
        _check_size("title", passage.title, MAX_TITLE_BYTES)
        (explanation,) = self.explain_passages(query, [passage], [None])
        return ExplainedPassage(passage, Span(0, len(passage.text)), explanation)

    def explain_document(self, query: str, collection: Collection, external_id: str) -> ExplainedPassage:
        """Explains the document's passage nearest to the query. Raises NotFound, InvalidInput."""
        _check_told("query", query, MAX_QUERY_BYTES)
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
        tokens = contributions(parts, matrix.sum(axis=0))
        return Explanation(
            float(matrix.sum(dtype=np.float64)),
            tokens,
            merged(tokens, passage, parts.words),
            merged(tokens, passage, sentence_numbers(tokens, self.sentence_starts(passage.text))),
            contributions(query, matrix.sum(axis=1)),
            matrix,
            query.is_truncated or parts.is_truncated,
        )


def _check_told(name: str, text: str, most: int) -> None:
    if not text.strip():
        raise InvalidInput(f"{name!r} is empty; there is nothing to explain.")
    _check_size(name, text, most)


def _check_size(name: str, text: str, most: int) -> None:
    """Before anything reads it: a tokenizer takes seconds for megabytes."""
    if (size := len(check_text(text, repr(name)))) > most:
        raise InvalidInput(f"{name!r} has {size:,} bytes; the limit is {most:,}.")


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


def contributions(parts: TokenParts, values: Iterable[float]) -> tuple[Contribution, ...]:
    """The tokens with their `values` (t,)."""
    return tuple(
        Contribution(token.text, token.field, token.start, token.end, float(value))
        for token, value in zip(parts.tokens, values, strict=True)
    )


def sentence_numbers(tokens: Sequence[Contribution], starts: Sequence[int]) -> tuple[int, ...]:
    """Number of the sentence of each token; the title is one, each special token stands alone."""
    later = [start for start in starts if start > 0]
    numbers = np.searchsorted(later, [token.start for token in tokens], side="right") + 1
    return tuple(
        int(number) if token.field is TokenField.TEXT else 0 if token.field is TokenField.TITLE else -1 - i
        for i, (number, token) in enumerate(zip(numbers, tokens, strict=True))
    )


def merged(
    tokens: Sequence[Contribution], passage: PassageText, groups: Sequence[int]
) -> tuple[Contribution, ...]:
    """Neighbours of the same group number and field as one."""
    joined: list[Contribution] = []
    last: tuple[int, TokenField] | None = None
    for token, group in zip(tokens, groups, strict=True):
        if joined and last == (group, token.field):
            joined[-1] = _joined(joined[-1], token, passage)
        else:
            joined.append(token)
        last = (group, token.field)
    return tuple(joined)


def _joined(a: Contribution, b: Contribution, passage: PassageText) -> Contribution:
    source = passage.title if a.field is TokenField.TITLE else passage.text
    start, end = min(a.start, b.start), max(a.end, b.end)
    return Contribution(source[start:end], a.field, start, end, a.contribution + b.contribution)
