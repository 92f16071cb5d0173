"""The end of a process: by SIGTERM as by Ctrl-C, and at once where a thread still runs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def unwound_by_sigterm() -> Iterator[None]:
    """In the block SIGTERM raises SystemExit (status 143), so that what was made for a time is taken away.

    For the main thread alone.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_if_busy(ended: SystemExit) -> None:
    """Ends the process with the status of `ended` if a thread outlasted the time that it had to stop.

    Python would end such a thread as soon as it comes back from C++, a forward pass of PyTorch say, and that
    aborts the process ("terminate called without an active exception"). To be called last, when all
    is closed and saved, as far as it could be. Returns where no such thread is left.
    """
    names = _still_running()
    if not names:
        return
    log.warning("threads_left_behind", extra={"threads": names})
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(_status(ended))


def _still_running() -> list[str]:
    """Names of the threads for which nobody waits."""
    me = threading.current_thread()
    return [thread.name for thread in threading.enumerate() if thread.daemon and thread is not me]


def _status(ended: SystemExit) -> int:
    if isinstance(ended.code, int):
        return ended.code
    return 0 if ended.code is None else 1
