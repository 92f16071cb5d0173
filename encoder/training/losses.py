"""The losses, each one pure function. Shapes: b queries, c candidate passages, n texts, d dimensions.

Candidate i is the positive of query i (i < b); all vectors have unit length unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, passages: Tensor, is_negative: Tensor, temperature: float) -> Tensor:
    """Mean of -log(exp(s_ii / T) / (exp(s_ii / T) + sum over negatives j of exp(s_ij / T))).

    `queries` (b, d), `passages` (c, d), `is_negative` (b, c) bool. van den Oord et al. 2018, equation 4.
    """
    logits = queries @ passages.T / temperature  # (b, c)
    own = torch.arange(len(queries), device=logits.device)
    keep = is_negative.clone()
    keep[own, own] = True
    return F.cross_entropy(logits.masked_fill(~keep, -torch.inf), own)


def matryoshka(
    queries: Tensor,
    passages: Tensor,
    is_negative: Tensor,
    temperature: float,
    prefix_dims: Sequence[int],
    prefix_weight: float,
) -> Tensor:
    """Weighted mean of InfoNCE of whole vectors, with weight 1, and of their renormalised prefixes.

    Kusupati et al. 2022, "Matryoshka representation learning", equation 1.
    """
    total = info_nce(queries, passages, is_negative, temperature)
    dims = [dim for dim in prefix_dims if dim < queries.shape[1]]
    for dim in dims:
        q, p = (F.normalize(vectors[:, :dim], dim=-1) for vectors in (queries, passages))
        total = total + prefix_weight * info_nce(q, p, is_negative, temperature)
    return total / (1 + prefix_weight * len(dims))


def embedding_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cosine of each text's vector (n, d) with the start model's."""
    return 1 - (student * teacher).sum(-1).mean()


def similarity_divergence(
    queries: Tensor, passages: Tensor, teacher_queries: Tensor, teacher_passages: Tensor, temperature: float
) -> Tensor:
    """Mean over queries of KL(teacher || student) between softmax(similarities / T) over all candidates.

    Hinton et al. 2015, "Distilling the knowledge in a neural network", section 2, on similarities.
    """
    student = F.log_softmax(queries @ passages.T / temperature, dim=-1)  # (b, c)
    teacher = F.log_softmax(teacher_queries @ teacher_passages.T / temperature, dim=-1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
