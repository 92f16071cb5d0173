"""One training step: the vectors of a batch, its losses, and the measure on held-out pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.types import Float32
from encoder.bert import Bert
from encoder.training.batches import Batch
from encoder.training.forward import embed
from encoder.training.losses import embedding_distance, matryoshka, similarity_divergence
from encoder.training.settings import TrainSettings
from encoder.training.sources import Source


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars; `total` is the sum weighted by the settings and carries the gradient."""

    total: Tensor
    contrastive: Tensor
    embedding: Tensor
    similarity: Tensor

    def parts(self) -> dict[str, float]:
        return {
            "contrastive": self.contrastive.item(),
            "embedding": self.embedding.item(),
            "similarity": self.similarity.item(),
        }


class Step:
    """Turns batches into losses by the present weights of `model`."""

    def __init__(self, model: Bert, sources: Sequence[Source], settings: TrainSettings) -> None:
        self._model = model
        self._sources = sources
        self._settings = settings
        self._device = next(model.parameters()).device

    def losses(self, batch: Batch) -> tuple[Losses, int]:
        """The losses of a batch, and how many tokens it had."""
        q, p, tokens = self._vectors(batch)
        teacher_q, teacher_p = (torch.from_numpy(v).to(self._device) for v in self._start_vectors(batch))
        is_negative = torch.from_numpy(batch.is_negative).to(self._device)
        w = self._settings.losses
        contrastive = matryoshka(q, p, is_negative, w.temperature, w.prefix_dims, w.prefix_weight)
        embedding = embedding_distance(torch.cat([q, p]), torch.cat([teacher_q, teacher_p]))
        similarity = similarity_divergence(q, p, teacher_q, teacher_p, w.temperature)
        total = w.contrastive * contrastive + w.embedding * embedding + w.similarity * similarity
        return Losses(total, contrastive, embedding, similarity), tokens

    def dev_mrr(self, batches: Sequence[Batch]) -> float:
        """Mean over files of the mean reciprocal rank of held-out pairs among the others' passages."""
        with torch.inference_mode():
            ranks = []
            for batch in batches:
                q, p, _ = self._vectors(batch)
                ranks.append(reciprocal_ranks(q.cpu().numpy(), p.cpu().numpy(), batch))
        return mean_of_means(ranks)

    def start_mrr(self, batches: Sequence[Batch]) -> float:
        """The same by the start model's vectors."""
        return mean_of_means([reciprocal_ranks(*self._start_vectors(batch), batch) for batch in batches])

    def _vectors(self, batch: Batch) -> tuple[Tensor, Tensor, int]:
        source = self._sources[batch.source]
        token_ids = [source.query_ids[i] for i in batch.pairs]
        token_ids += [source.passage_ids[i] for i in batch.passages]
        if not token_ids:
            empty = torch.empty(0, self._model.config.d)
            return empty, empty, 0
        vectors = embed(self._model, token_ids, self._settings.bf16)
        b = len(batch.pairs)
        return vectors[:b], vectors[b:], sum(len(ids) for ids in token_ids)

    def _start_vectors(self, batch: Batch) -> tuple[Float32, Float32]:
        source = self._sources[batch.source]
        return source.query_vectors[batch.pairs], source.passage_vectors[batch.passages]


def reciprocal_ranks(queries: Float32, passages: Float32, batch: Batch) -> Float32:
    """1 / rank of each query's positive among it and the passages that are wrong answers."""
    scores = queries @ passages.T  # (b, c)
    own = np.take_along_axis(scores, np.arange(len(queries))[:, None], axis=1)
    better = (scores > own) & batch.is_negative
    ranks: Float32 = (1 / (1 + better.sum(1))).astype(np.float32)
    return ranks


def mean_of_means(ranks: Sequence[Float32]) -> float:
    """Of the files that have held-out pairs; NaN when none has."""
    measured = [float(rank.mean()) for rank in ranks if len(rank)]
    return float(np.mean(measured)) if measured else float("nan")
