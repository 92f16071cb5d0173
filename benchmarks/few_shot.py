"""Accuracy of classification by the examples of one call, beside zero-shot prototypes with the same examples.

    python -m benchmarks.few_shot TRAIN.jsonl.gz TEST.jsonl.gz [--shots 1 2 4 8] [--seeds 5]

Each file holds one object a line with `text` and `label`. Examples are drawn from the training part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifier.few_shot import FewShotScorer
from classifier.zero_shot import ZeroShotScorer
from core.label_types import Label
from core.ports.models import LabelScorer
from encoder.service import EncoderService, load_encoder
from evaluation.rows import read_jsonl


def read(path: Path) -> tuple[list[str], list[str]]:
    """Texts and their labels."""
    rows = [row for _, row in read_jsonl(path)]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def draw(texts: Sequence[str], labels: Sequence[str], shots: int, seed: int) -> list[Label]:
    """Each label with `shots` of its texts."""
    order = np.random.default_rng(seed).permutation(len(texts))
    return [
        Label(name, examples=tuple([texts[i] for i in order if labels[i] == name][:shots]))
        for name in sorted(set(labels))
    ]


def accuracy(scorer: LabelScorer, texts: Sequence[str], labels: Sequence[str], given: list[Label]) -> float:
    results = scorer.classify(texts, given)
    return float(np.mean([one.label == label for one, label in zip(results, labels, strict=True)]))


def compare(encoder: EncoderService, arguments: argparse.Namespace, shots: int) -> None:
    train, test = read(arguments.train), read(arguments.test)
    trained, prototypes, seconds = [], [], []
    for seed in range(arguments.seeds):
        given = draw(*train, shots, seed)
        scorer = FewShotScorer(encoder)
        started = time.perf_counter()
        scorer.classify(test[0][:1], given)
        seconds.append(time.perf_counter() - started)
        trained.append(accuracy(scorer, *test, given))
        prototypes.append(accuracy(ZeroShotScorer(encoder, 0.057), *test, given))
    print(
        f"{shots} a label: head {np.mean(trained):.3f}, zero-shot with examples {np.mean(prototypes):.3f},"
        f" first call {np.median(seconds):.2f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    encoder = load_encoder()
    for shots in arguments.shots:
        compare(encoder, arguments, shots)
    encoder.close()


if __name__ == "__main__":
    main()
