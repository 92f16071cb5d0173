"""Log entries of words, and BM25 by its formula over the same terms."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from core.index_types import IndexHit, LogEntry
from indexer.lexical_analyzer import analyzer_of

K1, B = 1.2, 0.75


def entry(document_id: int, *texts: str, title: str = "", first: int = 0) -> LogEntry:
    """A document of these passages, whose ids count up from `first`; none: it was removed."""
    start = first or 100 * document_id
    passage_ids = np.arange(start, start + len(texts), dtype=np.int64)
    return LogEntry(document_id, 1, passage_ids, np.zeros((len(texts), 1), np.float16), title, texts)


def bm25(entries: list[LogEntry], query: str, language: str = "en") -> list[IndexHit]:
    """Every document that matches, best first, by the formula; exact for passages of at most 40 words."""
    terms = analyzer_of(language).terms
    rows = [
        (one.document_id, passage, Counter(terms(f"{one.title}\n{text}")))
        for one in entries
        for passage, text in zip(one.passage_ids.tolist(), one.texts, strict=True)
    ]
    average = sum(sum(words.values()) for _, _, words in rows) / max(1, len(rows))
    wanted = Counter(terms(query))
    held = {term: sum(term in words for _, _, words in rows) for term in wanted}
    best: dict[int, IndexHit] = {}
    for document, passage, words in rows:
        shared = [term for term in wanted if words[term]]
        length = K1 * (1 - B + B * sum(words.values()) / average)
        score = sum(
            wanted[term]
            * math.log(1 + (len(rows) - held[term] + 0.5) / (held[term] + 0.5))
            * (K1 + 1)
            * words[term]
            / (words[term] + length)
            for term in shared
        )
        before = best.get(document)
        if shared and (before is None or score > before.score * (1 + 1e-9)):
            best[document] = IndexHit(document, passage, score)
    return sorted(best.values(), key=lambda hit: (-round(hit.score, 9), hit.passage_id))
