"""A job as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
from starlette.responses import StreamingResponse

from api.answers import job_body
from api.job_feed import JobFeed
from core.job_types import Job

RETRY_MS = 2000
HEARTBEAT_S = 15.0
FINAL_ID = "final"  # of the last event: who comes back with it has seen all
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies must not hold events back


def job_events(feed: JobFeed, job: Job, is_head: bool = False) -> StreamingResponse:
    """Sends the job at once and whenever it changes, and ends after its final state.

    With `is_head`, where nobody reads what follows the headers, it ends at once.
    """
    return StreamingResponse(_stream(feed, job, is_head), media_type="text/event-stream", headers=HEADERS)


async def _stream(feed: JobFeed, job: Job, is_head: bool) -> AsyncGenerator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    if is_head:
        return
    number, sent_at = 0, time.monotonic()
    async with aclosing(feed.follow(job)) as states:
        async for state in states:
            if state is not None:
                number, sent_at = number + 1, time.monotonic()
                yield _event(state, number)
            elif time.monotonic() - sent_at >= HEARTBEAT_S:  # proxies close connections that are silent
                sent_at = time.monotonic()
                yield b": no change\n\n"


def _event(job: Job, number: int) -> bytes:
    event_id = FINAL_ID if job.state.is_final else number
    return b"id: %s\nevent: job\ndata: %s\n\n" % (str(event_id).encode(), orjson.dumps(job_body(job)))
