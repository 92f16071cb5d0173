"""One step of a reranker's training: each query with its positive and its own negatives, scored as pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.types import Float32, Int64
from encoder.backends.base import Int32
from encoder.pair_tokenizer import PairTokenizer
from encoder.training.batches import Batch
from encoder.training.forward import outputs
from encoder.training.mining import NONE
from encoder.training.pair_model import PairModel
from encoder.training.pairs import NO_LABEL
from encoder.training.settings import RerankLoss, RerankSettings
from encoder.training.sources import Source
from encoder.training.step import mean_of_means

_NEGATIVES = 5  # so that no two random streams are the same


@dataclass(frozen=True, slots=True)
class RankingLoss:
    total: Tensor

    def parts(self) -> dict[str, float]:
        return {"ranking": self.total.item()}


class RerankStep:
    """Turns batches into losses by the present weights of `model`."""

    def __init__(
        self, model: PairModel, sources: Sequence[Source], tokenizer: PairTokenizer, settings: RerankSettings
    ) -> None:
        self._model = model
        self._sources = sources
        self._tokenizer = tokenizer
        self._settings = settings

    def losses(self, batch: Batch) -> tuple[RankingLoss, int]:
        """The loss of a batch, and how many tokens its pairs had."""
        logits, tokens = self._logits(batch.source, batch.pairs, self._candidates(batch))
        loss = listwise if self._settings.loss is RerankLoss.LISTWISE else binary
        return RankingLoss(loss(logits)), tokens

    def dev_mrr(self, batches: Sequence[Batch]) -> float:
        """Mean over files of the mean reciprocal rank of held-out positives among the passages that the
        start model puts highest."""
        with torch.inference_mode():
            ranks = [
                reciprocal_rank(self._logits(b.source, b.pairs, self._dev_candidates(b))[0].cpu().numpy())
                for b in batches
                if len(b.pairs)
            ]
        return mean_of_means(ranks)

    def start_mrr(self, batches: Sequence[Batch]) -> float:
        """The same by the start model's vectors: what reranking has to beat."""
        ranks = []
        for batch in batches:
            if len(batch.pairs):
                candidates = self._dev_candidates(batch)
                ranks.append(reciprocal_rank(start_scores(self._sources[batch.source], batch, candidates)))
        return mean_of_means(ranks)

    def _logits(self, source: int, pairs: Int64, candidates: Int64) -> tuple[Tensor, int]:
        """Logits of `candidates` (b, c), -inf where there is none, and the number of tokens."""
        data = self._sources[source].pairs
        token_ids: list[Int32] = []
        for pair, row in zip(pairs, candidates, strict=True):
            passages = [data.passages[passage] for passage in row[row != NONE]]
            token_ids += self._tokenizer.encode(data.queries[pair], passages)
        found = outputs(self._model, token_ids, self._settings.run.bf16)  # (pairs,)
        is_there = torch.from_numpy(candidates != NONE).to(found.device)
        logits = found.new_full(candidates.shape, -torch.inf).masked_scatter(is_there, found)
        return logits, sum(len(ids) for ids in token_ids)

    def _candidates(self, batch: Batch) -> Int64:
        """(b, 1 + negatives): the positive first, then hard negatives of the pair, then wrong ones of the
        batch where those do not suffice. Drawn anew for each batch, equally for equal ones."""
        settings, pool = self._settings, self._sources[batch.source].pool
        rng = np.random.default_rng([settings.run.seed, _NEGATIVES, *batch.pairs.tolist()])
        rows = np.full((len(batch.pairs), 1 + settings.negatives), NONE, np.int64)
        rows[:, 0] = batch.passages[: len(batch.pairs)]
        for row, pair, is_wrong in zip(rows, batch.pairs, batch.is_negative, strict=True):
            hard = rng.permutation(pool[pair][pool[pair] != NONE])[: settings.negatives]
            others = rng.permutation(np.setdiff1d(batch.passages[is_wrong], hard))
            chosen = np.concatenate([hard, others])[: settings.negatives]
            row[1 : 1 + len(chosen)] = chosen
        return rows

    def _dev_candidates(self, batch: Batch) -> Int64:
        """(b, 1 + n): the positive, then the n passages that the start model puts highest, wrong ones all."""
        source = self._sources[batch.source]
        data, answers = source.pairs, source.pairs.answers()
        n = min(self._settings.dev_candidates, len(data.passages))
        rows = np.full((len(batch.pairs), 1 + n), NONE, np.int64)
        for row, pair in zip(rows, batch.pairs, strict=True):
            scores = source.passage_vectors @ source.query_vectors[pair]  # (p,)
            scores[list(answers[int(data.query_keys[pair])])] = -np.inf
            if data.labels[pair] != NO_LABEL:
                scores[data.passage_labels == data.labels[pair]] = -np.inf
            best = np.argsort(-scores, kind="stable")[:n]
            best = best[np.isfinite(scores[best])]
            row[0] = data.positives[pair]
            row[1 : 1 + len(best)] = best
        return rows


def start_scores(source: Source, batch: Batch, candidates: Int64) -> Float32:
    """Similarities of `candidates` (b, c) by the start model, -inf where there is none."""
    vectors = source.passage_vectors[candidates]  # (b, c, d)
    scores = np.einsum("bd,bcd->bc", source.query_vectors[batch.pairs], vectors)
    return np.asarray(np.where(candidates == NONE, -np.inf, scores), np.float32)


def listwise(logits: Tensor) -> Tensor:
    """Mean of -log softmax of the first column of `logits` (b, c), the positive; -inf is no candidate.

    Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach", with one positive.
    """
    first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits, first)


def binary(logits: Tensor) -> Tensor:
    """Cross-entropy of each pair alone, (b, c), the first column positive; -inf is no candidate.

    Positives and negatives count the same as wholes, however many negatives there are.
    """
    is_there = torch.isfinite(logits)
    negatives = logits[:, 1:][is_there[:, 1:]]
    positive = F.softplus(-logits[:, 0]).mean()
    return (positive + F.softplus(negatives).mean()) / 2 if len(negatives) else positive


def reciprocal_rank(scores: Float32) -> Float32:
    """1 / rank of the first column among each row of `scores` (b, c); equal ones count as half a place."""
    above = (scores[:, 1:] > scores[:, :1]).sum(1)
    equal = (scores[:, 1:] == scores[:, :1]).sum(1)
    ranks: Float32 = (1 / (1 + above + equal / 2)).astype(np.float32)
    return ranks
