"""Work that is done again and again beside the serving threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def repeated_every(seconds: float, name: str, work: Callable[[], None]) -> Iterator[None]:
    """Calls `work` on a thread every `seconds` while the block runs; what it raises is logged."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            try:
                work()
            except BaseException:  # the thread's outer edge; a panic of a library in Rust is no Exception
                log.exception("%s failed", name)

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
