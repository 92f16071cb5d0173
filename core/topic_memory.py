"""The topics found lately, each found once however many ask for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from core.errors import Overloaded
from core.topic_types import TopicMap

Key: TypeAlias = tuple[str, int, int | None]  # uid of the collection, seq, k

REMEMBERED: Final = 8
MAX_WAITING: Final = 4
RETRY_AFTER_S: Final = 2.0


class TopicMemory:
    """Safe for many threads; one of them finds topics while a few others wait for their turn."""

    def __init__(self) -> None:
        self._found: OrderedDict[Key, TopicMap] = OrderedDict()
        self._look = threading.Lock()
        self._work = threading.Lock()
        self._seats = threading.BoundedSemaphore(1 + MAX_WAITING)

    def get(self, key: Key, find: Callable[[], TopicMap]) -> TopicMap:
        """What is remembered, else what `find` returns. Raises Overloaded when too many wait."""
        if (known := self._known(key)) is not None:
            return known
        if not self._seats.acquire(blocking=False):
            raise Overloaded(
                f"Topics are being found and {MAX_WAITING} calls wait for it; try again shortly.",
                RETRY_AFTER_S,
            )
        try:
            with self._work:
                return self._known(key) or self._remember(key, find())
        finally:
            self._seats.release()

    def _known(self, key: Key) -> TopicMap | None:
        with self._look:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def _remember(self, key: Key, found: TopicMap) -> TopicMap:
        with self._look:
            self._found[key] = found
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
        return found
