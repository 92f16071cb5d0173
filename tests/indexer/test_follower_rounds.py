"""A long log is replayed a page at a time, while the follower goes on looking after other collections."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.types import Collection
from tests.indexer.following import DEAF, WAIT_S, Gate, World, eventually


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.at(tmp_path)


@pytest.mark.parametrize("is_deaf", [False, True])
def test_what_changes_while_a_long_log_is_replayed_waits_for_few_of_its_pages(
    world: World, is_deaf: bool
) -> None:
    big, small = world.database.add_collection("big"), world.database.add_collection("small")
    poll_interval_s = 0.02 if is_deaf else 1000.0
    with world.following(replace(DEAF, page_limit=1, poll_interval_s=poll_interval_s)) as follower:
        gate = Gate(world, big, 2)
        world.put(big, *range(100))
        assert gate.reached.wait(WAIT_S)
        world.notifier.is_deaf = is_deaf
        seq = world.put(small, 1)
        time.sleep(0.04)  # so that a poll is due
        gate.opened.set()
        eventually(lambda: follower.view(small).seq == seq)
        assert gate.read_when(small) <= 4  # two before, the one that was held, and one in its turn
        eventually(lambda: follower.lag() == {"big": 0, "small": 0})
        world.assert_served(follower, big)


def test_collections_come_and_go_while_a_long_log_is_replayed(world: World) -> None:
    big = world.database.add_collection("big")
    world.database.add_collection("gone")
    with world.following(replace(DEAF, page_limit=1)) as follower:
        gate = Gate(world, big, 2)
        world.put(big, *range(100))
        assert gate.reached.wait(WAIT_S)
        world.database.delete("gone")
        new = world.database.add_collection("new")
        world.put(new, 1)
        going = Gate(world, new, 0)
        gate.opened.set()
        assert going.reached.wait(WAIT_S)
        assert set(follower.lag()) == {"big", "new"}
        assert follower.lag()["big"] > 0
        going.opened.set()
        assert follower.wait_for(new, 1, WAIT_S)
        eventually(lambda: follower.lag() == {"big": 0, "new": 0})


def test_while_a_log_is_replayed_collections_are_not_listed_without_need(world: World) -> None:
    big = world.database.add_collection("big")
    listings: list[int] = []
    really_list = world.database.list

    def noted() -> list[Collection]:
        listings.append(follower.stats(big).applied_seq)
        return really_list()

    with world.following(replace(DEAF, page_limit=1, poll_interval_s=1000.0)) as follower:
        world.database.list = noted  # type: ignore[method-assign]
        seq = world.put(big, *range(50))
        assert follower.wait_for(big, seq, WAIT_S)
        assert len(listings) <= 3  # for the news, and for the one who waits
