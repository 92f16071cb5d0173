"""When a compaction is due, by what was written and on which occasion it is asked."""

from __future__ import annotations

import pytest

from indexer.upkeep import Occasion, has_bent_scores, has_large_delta, has_many_dead

WRITING, RESTING, REQUESTED = Occasion.WRITING, Occasion.RESTING, Occasion.REQUESTED


@pytest.mark.parametrize(
    ("main", "delta", "occasion", "is_large"),
    [(0, 2000, WRITING, False), (0, 2001, WRITING, True), (50_000, 5000, WRITING, False),
     (50_000, 5001, WRITING, True), (0, 500, RESTING, False), (0, 501, RESTING, True),
     (0, 501, REQUESTED, True), (100_000, 1000, REQUESTED, False)],
)  # fmt: skip
def test_a_delta_may_be_larger_while_it_is_written_to(
    main: int, delta: int, occasion: Occasion, is_large: bool
) -> None:
    assert has_large_delta(main, delta, occasion) is is_large


@pytest.mark.parametrize(
    ("dead", "total", "occasion", "is_many"),
    [(1000, 3000, WRITING, False), (1001, 3000, RESTING, True), (10_000, 50_000, WRITING, False),
     (10_001, 50_000, WRITING, True), (50, 60, REQUESTED, False), (51, 60, REQUESTED, True),
     (5000, 50_000, REQUESTED, False), (5001, 50_000, REQUESTED, True)],
)  # fmt: skip
def test_fewer_dead_rows_are_enough_when_a_compaction_is_requested(
    dead: int, total: int, occasion: Occasion, is_many: bool
) -> None:
    assert has_many_dead(dead, total, occasion) is is_many


@pytest.mark.parametrize(
    ("dead", "total", "occasion", "is_bent"),
    [(1, 4, RESTING, True), (2, 100, RESTING, False), (3, 100, RESTING, True), (900, 1000, WRITING, False),
     (1001, 3000, WRITING, True), (51, 60, REQUESTED, True), (50, 60, REQUESTED, False)],
)  # fmt: skip
def test_a_few_dead_passages_bend_the_scores_of_words_which_are_made_new_at_rest(
    dead: int, total: int, occasion: Occasion, is_bent: bool
) -> None:
    assert has_bent_scores(dead, total, occasion) is is_bent
