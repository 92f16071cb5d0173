"""Turns: many work together, or one works alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Who wants to work alone goes before those who come later, and waits only for those at work."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
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
    def alone(self) -> Iterator[None]:
        """Waits until nobody else works."""
        with self._changed:
            self._waiting_alone += 1
            try:
                self._changed.wait_for(lambda: not (self._is_alone or self._together))
                self._is_alone = True
            finally:
                self._waiting_alone -= 1
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()
