"""Ctrl-C, or a stop from outside, while a model trains: the step in progress is finished and saved first."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def steps_to_the_end(is_over: Callable[[], bool], step: Callable[[], None], save: Callable[[], None]) -> None:
    """Calls `step` until `is_over`. A SIGINT or SIGTERM that comes meanwhile waits for the end of a step and
    for `save`, then does what it would have done at once; a second one does not wait.

    Signals that are ignored stay so; on another thread than the main one, which alone may hold them back,
    they do what they always do.
    """
    with _held_back() as came:

        def pass_on() -> None:
            if came:
                save()
                signal.raise_signal(came.pop())

        while not is_over():
            step()
            pass_on()
        pass_on()


@contextmanager
def _held_back() -> Iterator[list[int]]:
    """The signal that came, if one did: from then on, and afterwards, their former handlers are back."""
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, _frame: FrameType | None) -> None:
        give_back()
        came.append(number)
        _log.warning("Training stops after this step, which is saved; interrupt again to stop without saving")

    def give_back() -> None:
        for number in held:
            signal.signal(number, handlers[number])

    is_main = threading.current_thread() is threading.main_thread()
    # None is a handler that Python did not set and could not give back.
    held = [n for n in _SIGNALS if is_main and handlers[n] not in (signal.SIG_IGN, None)]
    for number in held:
        signal.signal(number, note)
    try:
        yield came
    finally:
        give_back()
