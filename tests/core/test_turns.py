"""Turns: together, or alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from core.turns import Turns


def test_nobody_works_beside_one_who_works_alone() -> None:
    turns, lock = Turns(), threading.Lock()
    at_work: list[str] = []
    offences: list[list[str]] = []

    def work(number: int) -> None:
        kind = "alone" if number % 5 == 0 else "together"
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
