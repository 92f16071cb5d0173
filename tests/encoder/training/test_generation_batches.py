"""Batches of a generator's rows: what is in them, how large they are, how often a task comes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput
from encoder.generator_config import PAD
from encoder.training.generation_batches import GenerationBatch, GenerationBatches
from encoder.training.generation_settings import GeneratorSettings
from tests.encoder.training.tiny_generation import made_up_rows


def settings(**changes: object) -> GeneratorSettings:
    plain = {"encoder": Path("none"), "rows": (Path("none"),), "out": Path("none"), "batch_tokens": 90}
    return GeneratorSettings(**(plain | changes))  # type: ignore[arg-type]  # names of fields


def first(batches: GenerationBatches, count: int) -> list[GenerationBatch]:
    position, found = 0, []
    for _ in range(count):
        batch, position = batches.next(position)
        found.append(batch)
    return found


def test_a_batch_holds_its_rows_padded_and_shifted_behind_the_task() -> None:
    rows = made_up_rows()
    batch = GenerationBatches(rows, settings()).batch(np.array([3, 10, 199]))
    for k, i in enumerate((3, 10, 199)):
        begin, end = rows.bounds[rows.source[i]], rows.bounds[rows.source[i] + 1]
        source = [rows.task_ids[i], *rows.source_ids[begin:end]]
        target = rows.target_ids[i].tolist()
        padding = batch.source.token_ids.shape[1] - len(source)
        assert batch.source.token_ids[k].tolist() == source + [PAD] * padding
        states = batch.source.states[k].numpy()
        np.testing.assert_array_equal(states[1 : len(source)], rows.states[begin:end].astype(np.float32))
        assert not states[0].any()
        assert not states[len(source) :].any()
        padding = batch.targets.shape[1] - len(target)
        assert batch.targets[k].tolist() == target + [PAD] * padding
        assert batch.inputs[k].tolist() == [rows.task_ids[i], *target[:-1]] + [PAD] * padding


def test_no_batch_has_more_tokens_than_allowed_unless_it_is_one_row() -> None:
    batches = first(GenerationBatches(made_up_rows(), settings()), 60)
    for batch in batches:
        b, t = batch.targets.shape
        assert b == 1 or b * (t + 0.4 * batch.source.token_ids.shape[1]) <= 90
    assert max(len(batch.rows) for batch in batches) > 3


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    batches = first(GenerationBatches(made_up_rows(), settings(batch_tokens=1)), 20)
    assert {len(batch.rows) for batch in batches} == {1}


@pytest.mark.parametrize("share", [1.0, 3.0])
def test_tasks_come_by_their_shares_of_target_tokens(share: float) -> None:
    rows = made_up_rows()
    batches = GenerationBatches(rows, settings(shares={"ask": share}))
    tokens: Counter[str] = Counter()
    for batch in first(batches, 250):
        for i in batch.rows:
            tokens[rows.tasks[i]] += len(rows.target_ids[i])
    assert tokens["ask"] / tokens["simplify"] == pytest.approx(share, rel=0.15)


def test_a_task_without_a_share_is_never_drawn() -> None:
    rows = made_up_rows()
    drawn = {
        rows.tasks[i]
        for batch in first(GenerationBatches(rows, settings(shares={"ask": 0.0})), 100)
        for i in batch.rows
    }
    assert drawn == {"simplify"}


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(InvalidInput, match="nothing to learn"):
        GenerationBatches(made_up_rows(), settings(shares={"ask": 0.0, "simplify": 0.0}))


def test_held_out_sources_are_never_trained_on_under_any_task() -> None:
    rows = made_up_rows()
    batches = GenerationBatches(rows, settings(dev_rows=5))
    held_out = {int(rows.source[i]) for i in batches.dev}
    trained = {int(rows.source[i]) for batch in first(batches, 400) for i in batch.rows}
    assert len(held_out) >= 5
    assert not held_out & trained
    assert trained == set(range(150)) - held_out


def test_which_rows_are_held_out_does_not_depend_on_the_shares() -> None:
    rows = made_up_rows()
    one, other = (GenerationBatches(rows, settings(shares={"ask": share})).dev for share in (1.0, 5.0))
    np.testing.assert_array_equal(one, other)


def test_held_out_batches_hold_each_held_out_row_once() -> None:
    batches = GenerationBatches(made_up_rows(), settings(dev_rows=5))
    by_task = batches.dev_batches()
    assert set(by_task) == {"ask", "simplify"}
    seen = sorted(int(i) for task in by_task.values() for batch in task for i in batch.rows)
    assert seen == batches.dev.tolist()


def test_the_same_seed_gives_the_same_batches_and_another_gives_others() -> None:
    rows = made_up_rows()
    one, same, other = (
        [batch.rows.tolist() for batch in first(GenerationBatches(rows, settings(seed=seed)), 30)]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_batches_go_on_from_any_position() -> None:
    rows = made_up_rows(20)
    batches, position = GenerationBatches(rows, settings()), 0
    seen = []
    for _ in range(60):  # several draws
        seen.append(position)
        _, position = batches.next(position)
    assert len(set(seen)) == 60
    expected, after = batches.next(seen[41])
    found, found_after = GenerationBatches(rows, settings()).next(seen[41])
    assert found.rows.tolist() == expected.rows.tolist()
    assert found_after == after == seen[42]
