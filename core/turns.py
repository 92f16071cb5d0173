"""Turns: many work together, or one works alone; long work is only beside the first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 2.0  # long enough for a transaction of an import, not for a training


class Turns:
    """Who wants to work alone goes before those who come later, and waits only for those at work.

    Long work may take hours: who wants to work alone is patient with it for a moment only, and those who work
    together never wait for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._long = 0
        self._waiting_for_long = 0
        self._waiting_alone = 0
        self._is_alone = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Waits while somebody works alone or wants to."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._is_alone or self._waiting_alone))
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def long(self) -> Iterator[None]:
        """Waits while somebody works alone or wants to."""
        self._begin_long()
        try:
            yield
        finally:
            self._end_long()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within a turn of `long`: others may work alone meanwhile, and are waited for afterwards."""
        self._end_long()
        try:
            yield
        finally:
            self._begin_long()

    @contextmanager
    def alone(self, patience_s: float = PATIENCE_S) -> Iterator[bool]:
        """Waits until nobody else works; False when long work does not end within `patience_s`."""
        with self._changed:
            is_ours = self._wait_for_long(patience_s) and self._wait_for_together()
        try:
            yield is_ours
        finally:
            if is_ours:
                with self._changed:
                    self._is_alone = False
                    self._changed.notify_all()

    def _wait_for_long(self, patience_s: float) -> bool:
        """Whether no long work goes on; none begins meanwhile."""
        self._waiting_for_long += 1
        try:
            return self._changed.wait_for(lambda: not self._long, patience_s)
        finally:
            self._waiting_for_long -= 1
            self._changed.notify_all()

    def _wait_for_together(self) -> bool:
        self._waiting_alone += 1
        try:
            self._changed.wait_for(lambda: not (self._is_alone or self._together))
            self._is_alone = True
        finally:
            self._waiting_alone -= 1
        return True

    def _begin_long(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: not (self._is_alone or self._waiting_alone or self._waiting_for_long)
            )
            self._long += 1

    def _end_long(self) -> None:
        with self._changed:
            self._long -= 1
            self._changed.notify_all()
