"""Signals while a model trains: the step in progress is saved, then they do what they always do."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from encoder.training.interrupts import steps_to_the_end

pytestmark = pytest.mark.usefixtures("delivered")


class Ended(Exception):
    """Raised by a handler of these tests."""


class Training:
    """Three steps; `during` is called within the second one. `events` tells what happened."""

    def __init__(self, during: Callable[[], None]) -> None:
        self.events: list[str] = []
        self._during = during
        self._steps = 0

    def run(self) -> None:
        steps_to_the_end(lambda: self._steps == 3, self._step, lambda: self.events.append("saved"))

    def _step(self) -> None:
        self._steps += 1
        if self._steps == 2:
            self._during()
        self.events.append(f"step {self._steps}")


@pytest.fixture
def handler() -> Iterator[list[int]]:
    """Numbers of the signals that reached the handler of the process, which raises."""
    reached: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        reached.append(number)
        raise Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    yield reached
    for number, former in before.items():
        signal.signal(number, former)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_step_and_for_its_saving(handler: list[int], number: signal.Signals) -> None:
    training = Training(lambda: signal.raise_signal(number))
    with pytest.raises(Ended):
        training.run()
    assert training.events == ["step 1", "step 2", "saved"]
    assert handler == [number]
    with pytest.raises(Ended):
        signal.raise_signal(number)  # the former handler is back


def test_a_second_signal_does_not_wait(handler: list[int]) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    training = Training(twice)
    with pytest.raises(Ended):
        training.run()
    assert training.events == ["step 1"]
    assert handler == [signal.SIGINT]


def test_a_signal_at_the_very_end_is_not_lost(handler: list[int]) -> None:
    over = iter([False, True])
    events: list[str] = []

    def is_over() -> bool:
        found = next(over)
        if found:
            signal.raise_signal(signal.SIGINT)
        return found

    with pytest.raises(Ended):
        steps_to_the_end(is_over, lambda: events.append("step"), lambda: events.append("saved"))
    assert events == ["step", "saved"]


def test_training_goes_on_after_a_signal_whose_handler_does_not_end_it() -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        training = Training(lambda: signal.raise_signal(signal.SIGTERM))
        training.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert training.events == ["step 1", "step 2", "saved", "step 3"]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        training = Training(lambda: signal.raise_signal(signal.SIGINT))
        training.run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert training.events == ["step 1", "step 2", "step 3"]


def test_another_thread_trains_without_holding_signals_back() -> None:
    training = Training(lambda: None)
    thread = threading.Thread(target=training.run)
    thread.start()
    thread.join()
    assert training.events == ["step 1", "step 2", "step 3"]
