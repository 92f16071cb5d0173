"""Signals as Python's handlers see them, without the operating system: a test before may have left this
thread a stack for signals that OpenVINO has freed."""

from __future__ import annotations

import signal

import pytest


def deliver(number: int) -> None:
    """What `signal.raise_signal` has Python do."""
    handler = signal.getsignal(number)
    if handler is not signal.SIG_IGN:
        assert callable(handler), f"{handler!r} would end this process"
        handler(number, None)


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `signal.raise_signal` call the handler."""
    monkeypatch.setattr(signal, "raise_signal", deliver)
