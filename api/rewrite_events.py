"""A rewrite as server-sent events: its pieces as they are decided, then what verification says of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio.to_thread
from starlette.responses import StreamingResponse

from api.generation_answers import event, rewritten_body
from api.job_events import HEADERS
from core.errors import CognateError
from core.generating import Stream
from core.generation_types import FinishReason
from core.rewrite import Rewritten

Verify = Callable[[str, FinishReason | None], Rewritten]  # of the text and why it ended


def rewrite_events(pieces: Stream, verify: Verify) -> StreamingResponse:
    """`piece` events, which are not verified, and at the end `rewrite` with what `/v1/rewrite` would answer.

    An `error` event ends the stream instead when the generation breaks off.
    """
    return StreamingResponse(_stream(pieces, verify), media_type="text/event-stream", headers=HEADERS)


async def _stream(pieces: Stream, verify: Verify) -> AsyncGenerator[bytes]:
    text = ""
    try:
        while (piece := await anyio.to_thread.run_sync(next, pieces, None)) is not None:
            text += piece
            yield event("piece", {"text": piece})
        yield event("rewrite", _told(await anyio.to_thread.run_sync(verify, text, pieces.finish)))
    except CognateError as error:
        yield event("error", {"detail": str(error)})
    finally:
        pieces.close()


def _told(rewritten: Rewritten) -> dict[str, Any]:
    """As `/v1/rewrite` answers, without the score: what is drawn piece by piece has none."""
    body = rewritten_body(rewritten)
    for rewrite in body["rewrites"]:
        del rewrite["score"]
    return body
