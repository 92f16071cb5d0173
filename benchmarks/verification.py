"""What the checks of rewrites and explanations let through, of what people wrote and of mismatched texts.

    python -m benchmarks.verification DATA_FOLDER [--rows 1000]

The thresholds of core/rewrite_rules.py and core/verification.py were set on this. The folder has the training
parts `rewrite/train.jsonl.gz` and `explain/train.jsonl.gz` of rows {task, source, target}.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.explanations import texts_of
from core.facts import new_words
from core.generation_types import FinishReason, Generated, GenerationTask
from core.rewrite_rules import RULES, drop_of, far, strange
from core.telling_words import support
from core.types import Float32, Lane
from core.verification import LEAST_SIMILARITY, LEAST_SUPPORT, check_alone, judged, word_pieces
from encoder.service import EncoderService, load_encoder
from evaluation.generation import Sources, read_generation_rows

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def sample(data: Sources, rows: int) -> tuple[list[str], list[str]]:
    """Sources with their first targets, spread over the file."""
    step = max(1, len(data.sources) // rows)
    targets = [targets[0] for targets in data.targets]
    return list(data.sources[::step])[:rows], targets[::step][:rows]


def written(text: str) -> Generated:
    return Generated(text, 0.0, FinishReason.STOP, 0)


def similarities(encoder: EncoderService, texts: Sequence[str], others: Sequence[str]) -> Float32:
    """(n,) of each text with its other."""
    one, two = (encoder.encode_queries(side, Lane.BULK) for side in (texts, others))
    return np.asarray((one * two).sum(axis=1), dtype=np.float32)


def measure_rewrites(encoder: EncoderService, data: Sources, rows: int) -> None:
    """What would be dropped of the rewrites that people wrote, and the similarities of them and of others."""
    sources, targets = sample(data, rows)
    near = similarities(encoder, sources, targets)
    other = similarities(encoder, sources, targets[1:] + targets[:1])
    reasons: Counter[str] = Counter()
    for source, target, similarity in zip(sources, targets, near.tolist(), strict=True):
        drop = drop_of(data.task, source, written(target)) or far(data.task, similarity)
        drop = drop or strange(data.task, word_pieces(encoder, new_words(target, [source])))
        reasons[drop.reason if drop else "kept"] += 1
    shares = ", ".join(f"{reason} {count / len(sources):.3f}" for reason, count in reasons.most_common())
    low = ", ".join(f"{value:.2f}" for value in np.percentile(near, (1, 5, 50)))
    floor = RULES[data.task].least_similarity
    passed = "" if floor is None else f", of mismatched ones {np.mean(other >= floor):.3f} reach {floor}"
    print(f"{data.task} ({len(sources)} rows): {shares}; similarity 1/5/50 %: {low}{passed}", flush=True)


def measure_explanations(encoder: EncoderService, data: Sources, rows: int) -> None:
    """What passes of explanations that people wrote, and of those of other rows."""
    sources, targets = sample(data, rows)
    pairs = [texts_of(source) for source in sources]
    texts = [" ".join(pair) for pair in pairs]
    for name, given in (("written for it", targets), ("of another row", targets[1:] + targets[:1])):
        near = similarities(encoder, texts, given)
        shares = np.array([support(target, pair) for pair, target in zip(pairs, given, strict=True)])
        print(f"explanations {name} ({len(texts)} rows):")
        for least in THRESHOLDS:
            reached = f"similarity {np.mean(near >= least):.4f}, support {np.mean(shares >= least):.4f}"
            print(f"  at {least}: {reached}")
        outcomes: Counter[str] = Counter()
        for pair, target, similarity in zip(pairs, given, near.tolist(), strict=True):
            verdict = check_alone(written(target), pair, encoder)
            outcomes[(judged(similarity) if verdict.is_passed else verdict).outcome] += 1
        told = ", ".join(f"{outcome} {count / len(texts):.4f}" for outcome, count in outcomes.most_common())
        print(f"  all checks (similarity {LEAST_SIMILARITY}, support {LEAST_SUPPORT}): {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1000)
    arguments = parser.parse_args()
    encoder = load_encoder(precision="int8")
    try:
        for data in read_generation_rows(arguments.folder / "rewrite" / "train.jsonl.gz"):
            measure_rewrites(encoder, data, arguments.rows)
        for data in read_generation_rows(arguments.folder / "explain" / "train.jsonl.gz"):
            assert data.task is GenerationTask.EXPLAIN
            measure_explanations(encoder, data, 4 * arguments.rows)
    finally:
        encoder.close()


if __name__ == "__main__":
    main()
