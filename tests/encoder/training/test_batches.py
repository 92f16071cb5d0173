"""Batches: every pair once an epoch, nothing held out, and no right answer counted as a wrong one."""

from __future__ import annotations

import numpy as np

from encoder.training.batches import Batches
from encoder.training.mining import NONE
from encoder.training.sources import sample_passages
from tests.encoder.training.tiny import pair_set, source_of


def test_an_epoch_holds_every_training_pair_once_and_no_held_out_one() -> None:
    source = source_of(pair_set(range(12), 12), dev=[2, 7])
    batches = Batches([source], batch_size=5, steps=4, seed=0)
    epochs = np.concatenate([batches.at(step).pairs for step in range(4)])
    for epoch in (epochs[:10], epochs[10:]):
        assert sorted(epoch.tolist()) == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
    assert epochs[:10].tolist() != epochs[10:].tolist()
    assert batches.dev(0).pairs.tolist() == [2, 7]


def test_a_step_is_a_function_of_the_seed_and_its_number() -> None:
    source = source_of(pair_set(range(20), 40), [[20 + i, 30] for i in range(20)], hard_negatives=1)
    first, again, other = (Batches([source], 6, 9, seed) for seed in (1, 1, 2))
    for step in (8, 3):
        np.testing.assert_array_equal(first.at(step).pairs, again.at(step).pairs)
        np.testing.assert_array_equal(first.at(step).passages, again.at(step).passages)
    assert first.at(3).pairs.tolist() != other.at(3).pairs.tolist()


def test_files_take_turns_by_their_weights() -> None:
    light, heavy = (source_of(pair_set(range(9), 9), weight=weight) for weight in (1.0, 3.0))
    batches = Batches([light, heavy], batch_size=3, steps=400, seed=0)
    share = np.mean([batches.at(step).source for step in range(400)])
    assert 0.68 < share < 0.82


def test_a_query_with_two_answers_has_neither_as_a_negative() -> None:
    pairs = pair_set([0, 1, 2], 3, query_keys=[5, 5, 6])
    batch = Batches([source_of(pairs)], 3, 1, 0).at(0)
    wrong = {
        (int(pairs.query_keys[pair]), int(passage))
        for pair, row in zip(batch.pairs, batch.is_negative, strict=True)
        for passage, is_negative in zip(batch.passages, row, strict=True)
        if is_negative
    }
    assert wrong == {(5, 2), (6, 0), (6, 1)}


def test_a_passage_that_answers_two_queries_of_a_batch_is_no_negative_of_either() -> None:
    batch = Batches([source_of(pair_set([0, 0, 1], 2))], 3, 1, 0).at(0)
    for row, own in zip(batch.is_negative, batch.passages[:3], strict=True):
        np.testing.assert_array_equal(row, batch.passages != own)


def test_passages_of_the_same_label_are_no_negatives() -> None:
    pairs = pair_set([0, 1, 2], 3, labels=[1, 1, 2], passage_labels=[1, 1, 2])
    batch = Batches([source_of(pairs)], 3, 1, 0).at(0)
    labels = pairs.labels[batch.pairs]
    np.testing.assert_array_equal(batch.is_negative, labels[:, None] != labels)


def test_hard_negatives_come_after_the_positives_and_only_once() -> None:
    pool = [[3, 4, NONE], [3, 1, NONE], [NONE, NONE, NONE]]
    batch = Batches([source_of(pair_set([0, 1, 2], 6), pool, hard_negatives=2)], 3, 1, 0).at(0)
    assert sorted(batch.passages[:3].tolist()) == [0, 1, 2]
    assert batch.passages[3:].tolist() == [3, 4]
    assert batch.is_negative[:, 3:].all()


def test_a_sample_of_passages_is_spread_over_all_files() -> None:
    sources = [source_of(pair_set(range(n), n)) for n in (100, 3)]
    sample = sample_passages(sources, 10)
    assert sample[0] == "passage 0"
    assert sample[-3:] == ["passage 0", "passage 1", "passage 2"]
    assert 4 <= len(sample[:-3]) <= 5
