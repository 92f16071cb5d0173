"""Celery beat in this process: sends the periodic tasks, keeps nothing."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from celery import Celery, signals
from celery.beat import ScheduleEntry, Scheduler, SchedulingError, Service

log = logging.getLogger(__name__)


def run_scheduler(app: Celery, alive_file: Path | None, sent: Callable[[str], None]) -> None:
    """Sends periodic tasks until SIGTERM or SIGINT.

    `alive_file` is touched at every round; `sent` is told the name of each task that Redis took.
    """

    class LivelyScheduler(Scheduler):  # type: ignore[misc]  # Celery publishes no types
        producer = None  # Celery's own ends the process if Redis is away at start; the app has others

        def tick(self, *args: object, **kwargs: object) -> float:
            if alive_file is not None:
                alive_file.touch()
            return float(super().tick(*args, **kwargs))

        def apply_entry(self, entry: ScheduleEntry, producer: None = None) -> None:
            """Celery's own writes two stacks a task while Redis is away; a line says as much."""
            try:
                self.apply_async(entry, advance=False)
            except SchedulingError as error:
                told = {"task": entry.task, "reason": str(error)}
                log.warning("periodic task not sent; sent again when it is due next", extra=told)

        def close(self) -> None:
            self.sync()  # there is no producer to close

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    def tell(sender: str, **_: object) -> None:
        sent(sender)

    signals.after_task_publish.connect(tell, weak=False)
    signals.setup_logging.connect(lambda **_: None, weak=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    Service(app, scheduler_cls=LivelyScheduler).start()
    log.info("scheduler ended")
