"""What is measured: a system that ranks documents, embeds texts and classifies by label names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from core.ports.models import Encoder, LabelScorer
from core.types import EncoderInfo, Float32, Int64, Lane, PassageText
from evaluation.datasets import CorpusDocument, Query

Progress = Callable[[str, int, int], None]  # what is done, how many so far, of how many
BLOCK = 1024
QUERY_BLOCK = 64


class System(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, str]:
        """What else the figures depend on; kept with the report."""
        ...

    @property
    def scorer(self) -> LabelScorer:
        """Zero-shot classification."""
        ...

    def rank(
        self, corpus: Sequence[CorpusDocument], queries: Sequence[Query], depth: int, progress: Progress
    ) -> tuple[list[list[str]], tuple[str, ...]]:
        """For each query the ids of the `depth` best documents, best first; notes on what went wrong."""
        ...

    def embed(self, texts: Sequence[str], progress: Progress) -> Float32:
        """(n, d) float32 unit rows, for tasks where all texts are of one kind."""
        ...


class EncoderSystem:
    """A model in this process: one vector a document (cut at the encoder's max tokens), exact search.

    `make_scorer` builds the zero-shot scorer on the encoder it is given, which remembers the vectors of
    texts that `embed` has seen.
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        make_scorer: Callable[[Encoder], LabelScorer],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.settings = {
            "encoder": encoder.info.id,
            "fingerprint": encoder.info.fingerprint,
            **(settings or {}),
        }
        self._encoder = RememberingEncoder(encoder)
        self.scorer = make_scorer(self._encoder)

    def rank(
        self, corpus: Sequence[CorpusDocument], queries: Sequence[Query], depth: int, progress: Progress
    ) -> tuple[list[list[str]], tuple[str, ...]]:
        passages = [PassageText(document.title, document.text) for document in corpus]
        blocks = []
        for start in range(0, len(passages), BLOCK):
            blocks.append(self._encoder.encode_passages(passages[start : start + BLOCK], Lane.BULK))
            progress("documents encoded", min(start + BLOCK, len(passages)), len(passages))
        vectors = np.concatenate(blocks)  # (n, d)
        ids = [document.id for document in corpus]
        xq = self._encoder.encode_queries([query.text for query in queries], Lane.BULK)  # (q, d)
        return [[ids[i] for i in row] for row in nearest(xq, vectors, depth)], ()

    def embed(self, texts: Sequence[str], progress: Progress) -> Float32:
        self._encoder.forget()
        blocks = []
        for start in range(0, len(texts), BLOCK):
            blocks.append(self._encoder.encode_queries(texts[start : start + BLOCK], Lane.BULK))
            progress("texts encoded", min(start + BLOCK, len(texts)), len(texts))
        return np.concatenate(blocks)


class RememberingEncoder:
    """A core.ports.Encoder that encodes each query text once until told to forget."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, Float32] = {}

    @property
    def info(self) -> EncoderInfo:
        return self._encoder.info

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        if new := [text for text in dict.fromkeys(texts) if text not in self._vectors]:
            self._vectors.update(zip(new, self._encoder.encode_queries(new, lane), strict=True))
        return np.stack([self._vectors[text] for text in texts])

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        return self._encoder.encode_passages(passages, lane)

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        return self._encoder.token_spans(texts)

    def forget(self) -> None:
        """Drops the vectors of earlier data sets."""
        self._vectors.clear()


def nearest(xq: Float32, xb: Float32, depth: int) -> list[Int64]:
    """For each row of `xq` (q, d) the rows of `xb` (n, d) of highest inner product, best first.

    Every row of `xb` is scored; at equal scores the earlier row is first.
    """
    depth = min(depth, len(xb))
    rows: list[Int64] = []
    for start in range(0, len(xq), QUERY_BLOCK):
        scores = xq[start : start + QUERY_BLOCK] @ xb.T  # (b, n)
        worst = np.partition(scores, len(xb) - depth, axis=1)[:, len(xb) - depth]  # (b,)
        for row, limit in zip(scores, worst, strict=True):
            found = np.flatnonzero(row >= limit)
            rows.append(found[np.argsort(-row[found], kind="stable")][:depth])
    return rows
