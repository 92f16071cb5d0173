"""Notification inside one process: a published change calls its listeners directly."""

from __future__ import annotations

from collections.abc import Callable


class LocalNotifier:
    """Implements core.ports.Notifier."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[int, int], None], ...] = ()
        self._compactors: tuple[Callable[[], None], ...] = ()

    def publish(self, collection_id: int, seq: int) -> None:
        for listener in self._listeners:
            listener(collection_id, seq)

    def subscribe(self, listener: Callable[[int, int], None]) -> None:
        self._listeners += (listener,)

    def request_compaction(self) -> None:
        for compactor in self._compactors:
            compactor()

    def subscribe_compaction(self, listener: Callable[[], None]) -> None:
        self._compactors += (listener,)
