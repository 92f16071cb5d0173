"""What comes before a body is bounded in bytes and time: anybody may send it, with a key or without."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from cognate.http_head import MAX_HEAD_BYTES, BoundedHead
from cognate.server import ServerThread, bind, make_app
from cognate.settings import Settings
from core.services import Services

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"a" * 16_384


class Wire(asyncio.Transport):
    """A connection whose other end the test holds."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answering(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def sent(*pieces: bytes, until_closed: bool = False) -> Wire:
    """What becomes of a connection over which these pieces arrive, one after the other."""

    async def run() -> Wire:
        wire = Wire()
        config = Config(answering, lifespan="off", log_config=None)
        protocol = BoundedHead(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.connection_made(wire)
        for piece in pieces:
            if not wire.is_closed:
                protocol.data_received(piece)
                await asyncio.sleep(0)
        while (protocol.tasks or until_closed) and not wire.is_closed:
            await asyncio.sleep(0)
        is_closed = wire.is_closed
        protocol.connection_lost(None)
        while protocol.tasks:
            await asyncio.sleep(0)
        wire.is_closed = is_closed
        return wire

    return asyncio.run(run())


@pytest.mark.parametrize(
    "pieces",
    [
        (GET + b"X: ", *[PIECE] * 5),
        (GET, *[b"X: " + PIECE + b"\r\n"] * 5),
        (b"GET /", *[PIECE] * 3, b" HTTP/1.1\r\nX: ", *[PIECE] * 5),
        (GET + b"\r\n", GET + b"X: ", *[PIECE] * 5),
    ],
)
def test_a_head_that_goes_on_is_refused(pieces: tuple[bytes, ...]) -> None:
    wire = sent(*pieces)
    assert wire.is_closed
    assert wire.written.rpartition(b"HTTP/1.1 ")[2].startswith(b"431 ")
    assert b"65,536 bytes" in wire.written


def test_trailers_that_go_on_end_the_connection() -> None:
    assert sent(CHUNKED, b"1\r\nx\r\n0\r\nX: ", *[PIECE] * 5).is_closed


@pytest.mark.parametrize(
    "pieces",
    [
        (GET + b"X: " + PIECE * 3, b"\r\n\r\n"),
        tuple(bytes([byte]) for byte in GET + b"\r\n"),
        (3 * (GET + b"\r\n"),),
        (CHUNKED, *[b"4000\r\n" + PIECE + b"\r\n"] * 9, b"0\r\n\r\n"),
        (CHUNKED, *[b"1\r\nx\r\n"] * (MAX_HEAD_BYTES // 5), b"0\r\n\r\n"),
    ],
)
def test_what_is_within_bounds_is_answered(pieces: tuple[bytes, ...]) -> None:
    wire = sent(*pieces)
    assert wire.written.startswith(b"HTTP/1.1 200 OK")
    assert not wire.is_closed


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cognate.http_head.HEAD_LIMIT_S", 0.01)
    assert sent(GET, until_closed=True).written.startswith(b"HTTP/1.1 408 ")
    assert sent(until_closed=True).written == b""
    assert sent(GET + b"\r\n", GET, until_closed=True).written.count(b"HTTP/1.1 ") == 2


def test_the_server_bounds_heads(services: Services, settings: Settings) -> None:
    listener = bind(Settings(port=0))
    server = ServerThread(make_app(services, settings), listener)
    server.start()
    answer = b""
    try:
        with (
            socket.create_connection(listener.getsockname()[:2], timeout=30) as caller,
            suppress(ConnectionError),  # it may be closed before all is sent
        ):
            caller.sendall(GET + b"X: " + PIECE * 256 + b"\r\n\r\n")
            answer = caller.recv(100)
    finally:
        server.stop()
    assert b"200 OK" not in answer
