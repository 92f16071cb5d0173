"""Notification between processes by Redis publish/subscribe; followers that miss a message poll."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from redis import Redis, RedisError

from workers.notifier import LocalNotifier

log = logging.getLogger(__name__)

CHANGES, COMPACTIONS = "cognate:changes", "cognate:compactions"
TIMEOUT_S = 0.5  # of connecting and of one command: a commit is announced late rather than held up
PAUSE_S = 1.0
LISTEN_S = 1.0


class RedisNotifier:
    """Implements core.ports.Notifier. Listeners of this process hear at once, though Redis be away."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, health_check_interval=10
        )
        self._local = LocalNotifier()
        self._away_until_s = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(self, collection_id: int, seq: int) -> None:
        """Tells all processes; after a failure it does not try again for `PAUSE_S`."""
        self._local.publish(collection_id, seq)
        self._announce(CHANGES, f"{collection_id} {seq}")

    def request_compaction(self) -> None:
        """Asks all processes."""
        self._local.request_compaction()
        self._announce(COMPACTIONS, "")

    def is_answered(self) -> bool:
        """Whether Redis answers now, asked of it; takes at most twice `TIMEOUT_S`."""
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False

    def subscribe(self, listener: Callable[[int, int], None]) -> None:
        """The first listener starts the thread that listens to Redis."""
        self._local.subscribe(listener)
        self._start_listening()

    def subscribe_compaction(self, listener: Callable[[], None]) -> None:
        """The first listener starts the thread that listens to Redis."""
        self._local.subscribe_compaction(listener)
        self._start_listening()

    def close(self) -> None:
        """Ends the thread and closes the connections."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(LISTEN_S + 2 * TIMEOUT_S + PAUSE_S)
        self._redis.close()

    def _announce(self, channel: str, message: str) -> None:
        if time.monotonic() < self._away_until_s:
            return
        try:
            self._redis.publish(channel, message)
        except (RedisError, OSError) as error:
            self._away_until_s = time.monotonic() + PAUSE_S
            log.warning("not announced; followers poll", extra={"channel": channel, "error": str(error)})

    def _start_listening(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="redis-notifier", daemon=True)
            self._thread.start()

    def _listen(self) -> None:
        """Listens, and connects again for as long as it takes."""
        was_away = False
        while not self._stopping.is_set():
            try:
                self._listen_once(was_away)
            except (RedisError, OSError) as error:
                if not was_away:
                    log.warning("not subscribed to changes; followers poll", extra={"error": str(error)})
                was_away = True
                self._stopping.wait(PAUSE_S)

    def _listen_once(self, was_away: bool) -> None:
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(CHANGES, COMPACTIONS)
            if was_away:
                log.info("subscribed to changes again")
            while not self._stopping.is_set():
                # A connection that broke without a word is found by the ping of `health_check_interval`.
                message = channel.get_message(timeout=LISTEN_S)
                if message is not None:
                    self._on_message(message["channel"], message["data"])

    def _on_message(self, channel: bytes, data: object) -> None:
        if channel == COMPACTIONS.encode():
            self._local.request_compaction()
            return
        try:
            collection_id, seq = map(int, data.split() if isinstance(data, bytes) else ())
        except ValueError:
            log.warning("unreadable message on the channel of changes", extra={"channel": CHANGES})
            return
        self._local.publish(collection_id, seq)
