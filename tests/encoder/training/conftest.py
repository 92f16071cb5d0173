"""Signals as Python's handlers see them, without the operating system: a test before may have left this
thread a stack for signals that OpenVINO has freed."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


def deliver(number: int) -> None:
    """What `signal.raise_signal` has Python do."""
    handler = signal.getsignal(number)
    if handler is not signal.SIG_IGN:
        assert callable(handler), f"{handler!r} would end this process"
        handler(number, None)


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has `signal.raise_signal` call the handler, which of SIGINT is Python's.

    A shell starts what runs behind it with SIGINT ignored.
    """
    monkeypatch.setattr(signal, "raise_signal", deliver)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
