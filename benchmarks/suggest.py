"""Whether labelling suggested documents helps more than labelling random ones.

    python -m benchmarks.suggest TRAIN.jsonl[.gz] TEST.jsonl[.gz] [--start 4] [--added 100] [--seeds 5]

A head is trained on `--start` examples a label; `--added` more are chosen from the rest of the train file in
three ways, their labels looked up, and the head trained again is measured on the test file. Also times a
suggestion from 60,000 vectors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.zero_shot import LabelledSet, read
from classifier.suggest import suggest, uncertainties
from core.classifier_types import Head, HeadKind, HeadScores
from core.types import Float32, Int64, Lane
from encoder.service import load_encoder

C = 10.0
ITERATIONS = 60
LARGE = 60_000


def fit(vectors: Float32, columns: Int64) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=ITERATIONS, tol=1e-3).fit(vectors, columns)


def scores_of(model: LogisticRegression, vectors: Float32) -> HeadScores:
    p = np.asarray(model.predict_proba(vectors), dtype=np.float32)
    return HeadScores(np.log(p + 1e-12), p, p >= p.max(axis=1, keepdims=True), (None,) * len(p))


def chosen(
    way: str, head: Head, scores: HeadScores, pool: Float32, known: Float32, k: int, seed: int
) -> Int64:
    """Rows of `pool` (n, d)."""
    if way == "random":
        return np.random.default_rng(seed).permutation(len(pool))[:k]
    if way == "most uncertain":
        return np.argsort(-uncertainties(scores, head), kind="stable")[:k]
    return np.array([row.row for row in suggest(head, scores, pool, known, k, seed)])


def compare(
    train: LabelledSet, vectors: Float32, test: LabelledSet, others: Float32, options: argparse.Namespace
) -> None:
    columns, truth = train.truth.argmax(axis=1), test.truth.argmax(axis=1)
    head = Head(HeadKind.LOGISTIC, tuple(label.name for label in train.labels), False, {})
    results: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        parts = [rng.permutation(np.flatnonzero(columns == c))[: options.start] for c in np.unique(columns)]
        known = np.concatenate(parts)
        pool = np.setdiff1d(np.arange(len(columns)), known)
        first = fit(vectors[known], columns[known])
        results.setdefault("before", []).append(float(first.score(others, truth)))
        scores = scores_of(first, vectors[pool])
        for way in ("random", "most uncertain", "suggested"):
            rows = pool[chosen(way, head, scores, vectors[pool], vectors[known], options.added, seed)]
            rows = np.concatenate([known, rows])
            results.setdefault(way, []).append(float(fit(vectors[rows], columns[rows]).score(others, truth)))
    for way, values in results.items():
        print(f"{way}: accuracy {np.mean(values):.3f} (sd {np.std(values):.3f})", flush=True)


def time_large(dim: int, labels: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(LARGE, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    p = rng.dirichlet(np.full(labels, 0.1), LARGE).astype(np.float32)
    scores = HeadScores(np.log(p + 1e-12), p, p >= p.max(axis=1, keepdims=True), (None,) * LARGE)
    head = Head(HeadKind.LOGISTIC, tuple(map(str, range(labels))), False, {})
    start = time.perf_counter()
    suggest(head, scores, vectors, vectors[:1000], 100)
    print(f"100 of {LARGE:,} documents: {time.perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--start", type=int, default=4)
    parser.add_argument("--added", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    train, test = read(options.train), read(options.test)
    encoder = load_encoder()
    vectors, others = (encoder.encode_queries(data.texts, Lane.BULK) for data in (train, test))
    encoder.close()
    time_large(vectors.shape[1], len(train.labels))
    compare(train, vectors, test, others, options)


if __name__ == "__main__":
    main()
