"""Mining finds the hardest passages that are not likely answers."""

from __future__ import annotations

import numpy as np

from core.types import Float32
from encoder.training.mining import NONE, mine_negatives
from tests.encoder.training.tiny import pair_set


def scored(*rows: list[float]) -> tuple[Float32, Float32]:
    """Queries and passages whose inner products are the given scores."""
    return np.array(rows, np.float32), np.eye(len(rows[0]), dtype=np.float32)


def test_the_hardest_come_first_and_the_positive_is_left_out() -> None:
    mined = mine_negatives(pair_set([1], 4), *scored([0.2, 0.9, 0.5, 0.4]), pool=2, max_false_negative=0.95)
    assert mined.tolist() == [[2, 3]]


def test_passages_nearly_as_good_as_the_positive_are_likely_false_negatives() -> None:
    queries, passages = scored([0.8, 0.77, 0.75, 0.99, 0.1])
    mined = mine_negatives(pair_set([0], 5), queries, passages, pool=3, max_false_negative=0.95)
    assert mined.tolist() == [[2, 4, NONE]]  # 0.95 * 0.8 = 0.76


def test_other_answers_of_the_same_query_are_never_mined() -> None:
    pairs = pair_set([0, 2], 4, query_keys=[7, 7])
    mined = mine_negatives(pairs, *scored([0.9, 0.1, 0.8, 0.3], [0.9, 0.1, 1.0, 0.3]), 4, 0.95)
    assert mined.tolist() == [[3, 1, NONE, NONE]] * 2


def test_passages_of_the_same_label_are_never_mined() -> None:
    pairs = pair_set([0], 3, labels=[5], passage_labels=[5, 5, 6])
    assert mine_negatives(pairs, *scored([0.9, 0.8, 0.1]), 2, 0.95).tolist() == [[2, NONE]]


def test_many_rows_equal_brute_force() -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(300, 6)).astype(np.float32)
    passages = rng.normal(size=(50, 6)).astype(np.float32)
    positives = rng.integers(0, 50, 300).tolist()
    mined = mine_negatives(pair_set(positives, 50), queries, passages, 5, 0.95)
    for i, positive in enumerate(positives):
        score = passages @ queries[i]
        allowed = [j for j in range(50) if j != positive and score[j] <= 0.95 * score[positive]]
        best = sorted(allowed, key=lambda j: -score[j])[:5]
        assert mined[i].tolist() == best + [NONE] * (5 - len(best))
