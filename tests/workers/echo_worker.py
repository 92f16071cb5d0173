"""A real Celery worker whose tasks only write their id to a file: `python -m tests.workers.echo_worker`."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from core.ingest import AtWork
from core.job_types import Task
from workers.celery_app import QUEUES, BrokerSettings, make_app
from workers.celery_worker import Work, WorkerOptions, run_worker

LIMIT_S = 4.0


def main(url: str, told: Path, alive: Path) -> int:
    """Tasks named `slow…` take a second, one named `stuck` never ends, `waiting` begins after the limit.

    Those named `held…` last until a file `released` lies beside `told`.
    """
    released = told.with_name("released")
    logging.basicConfig(level=logging.INFO)

    def tell(line: str) -> None:
        with told.open("a") as file:
            file.write(f"{line}\n")

    def handle(task: Task, at_work: AtWork) -> None:
        if task.id == "waiting":
            time.sleep(1.5 * LIMIT_S)
        with at_work():
            do(task)

    def do(task: Task) -> None:
        if task.id.startswith(("slow", "held")):
            tell(f"begun {task.id}")
        if task.id.startswith("slow"):
            time.sleep(1)
        while task.id.startswith("held") and not released.exists():
            time.sleep(0.02)
        while task.id == "stuck":
            time.sleep(1)
        if task.id == "bad":
            raise RuntimeError("not this time")
        tell(task.id)

    work = Work(
        handle,
        sweep=lambda: tell("sweep"),
        purge=lambda: tell("purge"),
        compact=lambda: tell("compact"),
        stop=lambda: None,
        give_up=lambda: None,
    )
    app = make_app(BrokerSettings(url, LIMIT_S, 10.0), is_worker=True)
    return run_worker(app, work, WorkerOptions(2, QUEUES, LIMIT_S, alive))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
