"""Work that gives way to searches on the processor."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# A search that comes while such work has all cores gets one at once and most of it: the kernel weighs such a
# thread 110 and others 1024. So bulk work never starves.
_NICENESS = 10
_LEAST_PRIORITY = 19


def give_way() -> None:
    """From now on the calling thread, and those that it starts, give way to others."""
    if sys.platform == "linux":  # elsewhere niceness belongs to the process
        me = threading.get_native_id()
        inherited = os.getpriority(os.PRIO_PROCESS, me)
        os.setpriority(os.PRIO_PROCESS, me, min(inherited + _NICENESS, _LEAST_PRIORITY))


def on_yielding_thread(work: Callable[[], T]) -> T:
    """The result of `work`; the threads that it starts give way to others, as far as the system lets them."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            give_way()
            results.append(work())
        except BaseException as error:  # the thread's edge: it belongs to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="yielding")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
