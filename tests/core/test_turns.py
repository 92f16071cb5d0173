"""Turns: together, or alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from core.turns import Turns

WAIT_S = 20.0


def test_nobody_works_beside_one_who_works_alone() -> None:
    turns, lock = Turns(), threading.Lock()
    at_work: list[str] = []
    offences: list[list[str]] = []

    def work(number: int) -> None:
        kind = "alone" if number % 5 == 0 else "long" if number % 3 == 0 else "together"
        with getattr(turns, kind)():
            with lock:
                at_work.append(kind)
                if "alone" in at_work and len(at_work) > 1:
                    offences.append(list(at_work))
            with lock:
                at_work.remove(kind)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2000), timeout=60))
    assert offences == []


def test_several_work_together() -> None:
    turns, both = Turns(), threading.Barrier(2)

    def work() -> None:
        with turns.together():
            both.wait(20)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work), pool.submit(work)]:
            future.result(30)


def test_an_error_gives_the_turn_back() -> None:
    turns = Turns()
    for kind in ("alone", "together", "alone"):
        try:
            with getattr(turns, kind)():
                raise RuntimeError
        except RuntimeError:
            pass
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(turns.alone().__enter__).exception(20) is None


def test_who_wants_to_work_alone_is_turned_away_by_long_work_and_keeps_nobody_waiting() -> None:
    turns = Turns()
    with turns.long():
        with turns.alone(0.01) as is_ours:
            assert not is_ours
        with ThreadPoolExecutor(1) as pool:
            for kind in ("together", "long"):
                assert pool.submit(getattr(turns, kind)().__enter__).exception(20) is None


def test_batches_begin_while_somebody_waits_for_long_work() -> None:
    turns = Turns()

    def alone() -> bool:
        with turns.alone(WAIT_S) as is_ours:
            return is_ours

    with ThreadPoolExecutor(1) as pool:
        with turns.long():
            waiting = pool.submit(alone)
            wait_until(lambda: turns._waiting_for_long == 1)
            with turns.together():
                assert not waiting.done()
        assert waiting.result(WAIT_S)


def test_long_work_begins_after_who_waits_for_other_long_work_to_end() -> None:
    turns, order = Turns(), list[str]()

    def work(kind: str) -> None:
        with getattr(turns, kind)():
            order.append(kind)

    with ThreadPoolExecutor(2) as pool:
        with turns.long():
            alone = pool.submit(work, "alone")
            wait_until(lambda: turns._waiting_for_long == 1)
            long = pool.submit(work, "long")
        alone.result(WAIT_S)
        long.result(WAIT_S)
    assert order == ["alone", "long"]


def test_somebody_works_alone_while_long_work_is_paused() -> None:
    turns = Turns()
    with turns.long():
        with turns.paused(), turns.alone(0.0) as is_ours:
            assert is_ours
        with turns.alone(0.0) as is_ours:
            assert not is_ours


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)
