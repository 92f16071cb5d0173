"""The HTTP protocol of the server, with bounds on what comes before it knows who calls."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_LIMIT_S: Final = 60.0
HEADERS: Final = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
TOO_LARGE: Final = b"The request line and the headers are longer than 65,536 bytes; send less."
TOO_SLOW: Final = b"The request line and the headers did not come within 60 s."


class BoundedHead(HttpToolsProtocol):
    """Ends a connection whose request line, headers or trailers are too long, or come too slowly.

    Its parser keeps a header that goes on and on, and copies all of it at each piece that arrives: a hundred
    megabytes from anybody, key or not, would stand still all that is served. What arrives within one piece is
    not counted, so heads somewhat longer than the bound get through.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._unread = 0  # bytes since the parser last had something to tell
        self._is_told = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as there
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_told = False
        super().data_received(data)
        self._unread = 0 if self._is_told else self._unread + len(data)
        if self._unread > MAX_HEAD_BYTES:
            self._end(431, TOO_LARGE)

    def on_message_begin(self) -> None:
        self._is_told = True
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._is_told = True
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._is_told = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_told = True
        super().on_message_complete()

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_LIMIT_S, self._end, 408, TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self, status: int, reason: bytes) -> None:
        if self.transport.is_closing():
            return
        is_answered = self.cycle is not None and not self.cycle.response_complete  # then these are trailers
        if self.headers is not None and not is_answered:
            self.transport.write(STATUS_LINE[status] + HEADERS % len(reason) + reason)
        self.transport.close()
