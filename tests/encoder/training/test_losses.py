"""Each loss equals its formula written out with loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from encoder.training.losses import embedding_distance, info_nce, matryoshka, similarity_divergence

T = 0.1


def unit(n: int, d: int, seed: int) -> Tensor:
    vectors = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=-1)


Q, P = unit(4, 12, 0), unit(6, 12, 1)
NEGATIVE = torch.from_numpy(np.random.default_rng(2).random((4, 6)) < 0.6)
NEGATIVE[torch.arange(4), torch.arange(4)] = False


def naive_info_nce(q: Tensor, p: Tensor, is_negative: Tensor) -> float:
    losses = []
    for i in range(len(q)):
        own = np.exp(float(q[i] @ p[i]) / T)
        others = [np.exp(float(q[i] @ p[j]) / T) for j in range(len(p)) if is_negative[i, j]]
        losses.append(-np.log(own / (own + sum(others))))
    return float(np.mean(losses))


def test_info_nce_counts_the_positive_and_the_allowed_negatives_alone() -> None:
    assert 0 < int(NEGATIVE.sum()) < 20
    assert info_nce(Q, P, NEGATIVE, T).item() == pytest.approx(naive_info_nce(Q, P, NEGATIVE))


def test_info_nce_without_any_negative_is_zero() -> None:
    assert info_nce(Q, P, torch.zeros(4, 6, dtype=torch.bool), T).item() == pytest.approx(0)


def test_a_masked_candidate_gets_no_gradient() -> None:
    p = P.clone().requires_grad_(True)
    masked = NEGATIVE.clone()
    masked[:, 5] = False
    (gradient,) = torch.autograd.grad(info_nce(Q, p, masked, T), p)
    assert gradient[5].abs().max() == 0
    assert gradient[0].abs().max() > 0


def test_matryoshka_is_the_weighted_mean_over_renormalised_prefixes() -> None:
    parts = [naive_info_nce(Q, P, NEGATIVE)]
    for dim in (3, 8):
        q, p = (v[:, :dim] / v[:, :dim].norm(dim=1, keepdim=True) for v in (Q, P))
        parts.append(naive_info_nce(q, p, NEGATIVE))
    expected = (parts[0] + 0.5 * parts[1] + 0.5 * parts[2]) / 2
    assert matryoshka(Q, P, NEGATIVE, T, (3, 8, 12, 64), 0.5).item() == pytest.approx(expected)


def test_embedding_distance_is_one_minus_the_mean_cosine() -> None:
    expected = np.mean([1 - float(a @ b) for a, b in zip(Q, P[:4], strict=True)])
    assert embedding_distance(Q, P[:4]).item() == pytest.approx(float(expected))
    assert embedding_distance(Q, Q).item() == pytest.approx(0)


def test_similarity_divergence_is_the_mean_kl_from_the_teacher() -> None:
    teacher_q, teacher_p = unit(4, 12, 3), unit(6, 12, 4)
    total = 0.0
    for i in range(4):
        t = np.exp([float(teacher_q[i] @ teacher_p[j]) / T for j in range(6)])
        s = np.exp([float(Q[i] @ P[j]) / T for j in range(6)])
        t, s = t / t.sum(), s / s.sum()
        total += float((t * np.log(t / s)).sum())
    assert similarity_divergence(Q, P, teacher_q, teacher_p, T).item() == pytest.approx(total / 4)
    assert similarity_divergence(Q, P, Q, P, T).item() == pytest.approx(0, abs=1e-12)
