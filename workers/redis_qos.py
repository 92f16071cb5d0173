"""A place in a worker's prefetch that is free again though Redis could not be told of the task's end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu.transport import redis
from kombu.transport.virtual import base


class ForgettingQoS(redis.QoS):  # type: ignore[misc]  # kombu publishes no types
    """Kombu's, which keeps the place of a task whose acknowledgement failed.

    Once all places were taken so, the worker read nothing any more: not even that its connection was gone,
    so it never made a new one. Redis hands such a task out again after the visibility timeout.
    """

    def ack(self, delivery_tag: str) -> None:
        """Raises what Redis' client raises."""
        with _freed(self, delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Raises what Redis' client raises."""
        with _freed(self, delivery_tag):
            super().reject(delivery_tag, requeue)


@contextmanager
def _freed(qos: ForgettingQoS, delivery_tag: str) -> Iterator[None]:
    """Frees the place when what is done within fails."""
    try:
        yield
    except Exception:
        if delivery_tag in qos._delivered:
            base.QoS.ack(qos, delivery_tag)
        raise


def install() -> None:
    """All channels to Redis that this process opens from now on have it."""
    redis.Channel.QoS = ForgettingQoS
