"""Keeping a lease while its batch is worked on: a heartbeat extends it, and work stops once it is lost."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import copy_context
from types import TracebackType

from core.job_types import ClaimedBatch
from core.ports.stores import BatchStore

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 3
CHECK_EVERY_S = 0.5
STALLED_AFTER_S = 900.0


class LeaseLost(Exception):
    """The batch was cancelled or went to another worker; what was encoded of it is of no use."""


class LeaseKeeper:
    """Extends the lease from a thread of its own, within a `with` block.

    The heartbeat tells that the process lives, not that the work goes on: a batch that shows no progress for
    `STALLED_AFTER_S` is given up, so that its lease ends and another may take it.
    """

    def __init__(self, batches: BatchStore, batch: ClaimedBatch, lease_s: float) -> None:
        self._batches, self._batch, self._lease_s = batches, batch, lease_s
        self._stopped = threading.Event()
        self._progressed_at = self._checked_at = time.monotonic()
        beat = copy_context().run  # the heartbeat's log lines name what those of the task name
        self._thread = threading.Thread(
            target=beat, args=(self._beat,), name=f"lease-{batch.id}", daemon=True
        )

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def check(self) -> None:
        """To be called between steps of the work: notes progress. Raises LeaseLost.

        The database is asked at most twice a second.
        """
        self._progressed_at = now = time.monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return
        self._checked_at = now
        if not self._batches.extend(self._batch, self._lease_s):
            raise LeaseLost(f"batch {self._batch.id} is not ours any more")

    def _beat(self) -> None:
        while not self._stopped.wait(self._lease_s / BEATS_PER_LEASE):
            if time.monotonic() - self._progressed_at > STALLED_AFTER_S:
                log.error("batch makes no progress; its lease runs out", extra={"batch_id": self._batch.id})
                return
            try:
                if not self._batches.extend(self._batch, self._lease_s):
                    return
            except Exception:  # the thread's outer edge: the next beat tries again
                log.exception("lease not extended", extra={"batch_id": self._batch.id})
