"""Topics are found once a state, by one thread at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import Overloaded
from core.topic_memory import MAX_WAITING, REMEMBERED, TopicMemory
from core.topic_types import TopicMap


def empty(seq: int) -> TopicMap:
    return TopicMap(seq, 0, 0, (), ())


def test_many_who_ask_for_the_same_wait_for_one_who_finds_it() -> None:
    memory, found = TopicMemory(), []
    is_asked, may_end = threading.Event(), threading.Event()

    def find() -> TopicMap:
        is_asked.set()
        assert may_end.wait(10)
        found.append(1)
        return empty(1)

    with ThreadPoolExecutor(1 + MAX_WAITING) as threads:
        asked = [threads.submit(memory.get, ("c", 1, None), find) for _ in range(1 + MAX_WAITING)]
        assert is_asked.wait(10)
        while memory._seats._value:  # until all of them wait
            time.sleep(0.01)
        with pytest.raises(Overloaded, match="try again"):
            memory.get(("c", 1, None), find)
        may_end.set()
        assert [one.result() for one in asked] == [empty(1)] * (1 + MAX_WAITING)
    assert found == [1]


def test_a_failure_leaves_the_turn_to_the_next() -> None:
    memory = TopicMemory()
    for _ in range(MAX_WAITING + 2):
        with pytest.raises(ZeroDivisionError):
            memory.get(("c", 1, None), lambda: empty(1 // 0))
    assert memory.get(("c", 1, None), lambda: empty(1)) == empty(1)


def test_another_state_or_k_is_found_anew_and_the_oldest_is_forgotten() -> None:
    memory = TopicMemory()
    keys = [("c", seq, k) for seq in range(REMEMBERED) for k in (None, 2)]
    for number, key in enumerate(keys):
        assert memory.get(key, lambda number=number: empty(number)).seq == number  # type: ignore[misc]
    assert memory.get(keys[-1], lambda: empty(-1)).seq == len(keys) - 1
    assert memory.get(keys[0], lambda: empty(-1)).seq == -1
