"""Turns at the generator: bounded waiting, errors to their callers, streams that can be left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import Overloaded, Unavailable
from encoder.generation_turns import GenerationTurns

WAIT_S = 10.0


def fail() -> int:
    raise ValueError("wrong")


def test_work_has_its_result_or_its_error() -> None:
    turns = GenerationTurns(4, WAIT_S)
    assert turns.run(lambda: 7) == 7
    with pytest.raises(ValueError, match="wrong"):
        turns.run(fail)
    assert list(turns.stream(lambda: [1, 2])) == [1, 2]
    turns.close()


def test_no_more_than_the_limit_wait() -> None:
    turns = GenerationTurns(1, WAIT_S)
    entered, may_go = threading.Event(), threading.Event()

    def hold() -> bool:
        entered.set()
        return may_go.wait(WAIT_S)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(turns.run, hold)
        assert entered.wait(WAIT_S)
        second = pool.submit(turns.run, lambda: 2)
        while turns.waiting < 1:
            threading.Event().wait(0.001)
        with pytest.raises(Overloaded, match="at most 1 may"):
            turns.run(lambda: 3)
        may_go.set()
        assert first.result(WAIT_S)
        assert second.result(WAIT_S) == 2
    assert turns.waiting == 0
    turns.close()


def test_a_stream_raises_what_its_work_raises_after_what_it_gave() -> None:
    turns = GenerationTurns(4, WAIT_S)

    def work() -> Iterator[int]:
        yield 1
        yield fail()

    pieces = turns.stream(work)
    assert next(pieces) == 1
    with pytest.raises(ValueError, match="wrong"):
        next(pieces)
    turns.close()


def test_work_of_a_stream_that_is_left_ends() -> None:
    turns = GenerationTurns(4, WAIT_S)
    given: list[int] = []
    may_go = threading.Event()

    def work() -> Iterator[int]:
        yield 0
        assert may_go.wait(WAIT_S)
        for i in range(1, 1000):
            given.append(i)
            yield i

    pieces = turns.stream(work)
    assert next(pieces) == 0
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    may_go.set()
    assert turns.run(lambda: "next") == "next"
    assert given == [1]
    turns.close()


def test_work_of_a_stream_ends_while_nobody_reads_and_says_so() -> None:
    turns = GenerationTurns(4, WAIT_S)
    ended = threading.Event()
    pieces = turns.stream(lambda: range(1000), ended.set)
    assert ended.wait(WAIT_S)
    assert turns.run(lambda: "next") == "next"
    assert list(pieces) == list(range(1000))
    turns.close()


def test_work_of_a_stream_that_nobody_began_to_read_ends() -> None:
    turns = GenerationTurns(4, WAIT_S)
    given: list[int] = []
    may_go = threading.Event()

    def work() -> Iterator[int]:
        assert may_go.wait(WAIT_S)
        for i in range(1000):
            given.append(i)
            yield i

    pieces = turns.stream(work)
    del pieces
    may_go.set()
    assert turns.run(lambda: "next") == "next"
    assert given == [0]
    turns.close()


def test_after_the_end_nothing_begins() -> None:
    turns = GenerationTurns(4, WAIT_S)
    turns.close()
    with pytest.raises(Unavailable):
        turns.run(lambda: 1)
