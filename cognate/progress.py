"""Progress of work in the terminal: bar, rate and estimated time, or plain lines where there is none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cognate.client import Client
from cognate.terminal import Terminal
from core.job_types import JobKind, JobState

LINE_EVERY_S: Final = 30.0


def plain_lines(console: Console, every_s: float = LINE_EVERY_S) -> Callable[[str], None]:
    """Prints what it is told, at most every `every_s` seconds, where no terminal shows a bar."""
    told_s = -math.inf
    has_bar = console.is_terminal and not console.is_dumb_terminal

    def tell(line: str) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if not has_bar and now_s - told_s >= every_s:
            told_s = now_s
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return tell


def follow_jobs(
    client: Client, job_ids: Sequence[str], console: Console, title: str, unit: str = "documents"
) -> list[dict[str, Any]]:
    """Shows a bar until the jobs are over; the jobs at their end. An interrupt says that one job goes on."""
    columns = (
        TextColumn("{task.description}", markup=False),  # it may be the name of a file
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        line = bar.add_task(title, total=None, rate="")

        def show(jobs: list[dict[str, Any]]) -> None:
            finished = sum(job["done"] + job["failed"] for job in jobs)
            seconds = bar.tasks[line].elapsed or 0.0
            rate = f"{finished / seconds:,.0f} {unit}/s" if seconds > 1 else ""
            bar.update(line, completed=finished, total=sum(job["total"] for job in jobs), rate=rate)

        try:
            return client.follow(job_ids, show)
        except KeyboardInterrupt:
            if len(job_ids) == 1:
                told = f"The job goes on; follow it with: cognate jobs {job_ids[0]} --follow"
                Terminal(stderr=True).print(told, highlight=False, soft_wrap=True)
            raise


def finish_job(
    client: Client, job: dict[str, Any], console: Console, title: str, unit: str = "documents"
) -> dict[str, Any]:
    """Follows the job to its end; exit status 2 with the reason when it does not succeed."""
    job = follow_jobs(client, [job["id"]], console, title, unit)[0]
    if job["state"] != "succeeded":
        reasons = "; ".join(error["reason"] for error in job["errors"])
        told = (
            f"error: {title} has {job['state']}: {reasons}"
            if reasons
            else f"error: {title} was {job['state']}"
        )
        Terminal(stderr=True).print(told, style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(2)
    return job


def summarise(jobs: Sequence[dict[str, Any]], console: Console) -> bool:
    """Prints what came of the jobs with the first errors; whether all succeeded."""
    done, failed = (sum(int(job[count]) for job in jobs) for count in ("done", "failed"))
    is_ingest = all(job["kind"] in (JobKind.DOCUMENTS, JobKind.IMPORT) for job in jobs)
    console.print(f"{done:,} {'documents are searchable' if is_ingest else 'done'}, {failed:,} failed.")
    for error in [error for job in jobs for error in job["errors"]][:10]:
        told = f"  {error['id']}: {error['reason']}" if error["id"] else f"  {error['reason']}"
        console.print(told, style="red", markup=False, highlight=False, soft_wrap=True)
    return all(job["state"] == JobState.SUCCEEDED for job in jobs)
