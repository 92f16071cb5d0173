"""Strict reading of requests: unknown query parameters are refused, JSON is read exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import anyio.to_thread
import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

PARSE_IN_THREAD_FROM_BYTES = 64 * 1024
PIECE_BYTES = 256 * 1024
LONG_INTEGER = b"0" * 19  # the least digits of one beyond 64 bits, each read as a zero
AS_ZEROS = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(256))
SHOWN_DIGITS = 40  # of an integer, its sign among them, in messages
MAX_DIGITS = SHOWN_DIGITS + 1  # kept of an integer: beyond 64 bits it is refused whatever follows


class StrictRequest(Request):
    """Parses with orjson. What it refuses (NaN, lone surrogates) or would silently round (integers beyond 64
    bits) is read leniently, so that the document or field at fault can be named by the checks that follow;
    broken syntax answers 400."""

    async def json(self) -> Any:
        encoding = self.headers.get("content-encoding", "identity")
        if encoding.lower() not in ("", "identity"):
            raise HTTPException(
                415, f"Content-Encoding is {encoding[:100]!r}; send the body as it is, without compression."
            )
        body = await self.body()
        if len(body) < PARSE_IN_THREAD_FROM_BYTES:
            return parse(body)
        return await anyio.to_thread.run_sync(parse, body)


class StrictRoute(APIRoute):
    """Route class of all our routes."""

    request_class: type[StrictRequest] = StrictRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = {field.alias for field in self.dependant.query_params}

        async def strict(request: Request) -> Response:
            unknown = sorted(set(request.query_params) - known)
            if unknown:
                listed = ", ".join(sorted(known)) or "none"
                raise HTTPException(422, f"Unknown query parameter {unknown[0]!r}; this route has {listed}.")
            return await handle(self.request_class(request.scope, request.receive))

        return strict


def parse(body: bytes) -> Any:
    """The JSON value of the body. Raises HTTPException with status 400 for what is none."""
    if _may_be_beyond_64_bits(body):
        return _parse_leniently(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _may_be_beyond_64_bits(body: bytes) -> bool:
    """Whether so many digits stand together. Between the pieces other threads get their turn."""
    step = PIECE_BYTES - len(LONG_INTEGER) + 1
    return any(
        LONG_INTEGER in body[start : start + PIECE_BYTES].translate(AS_ZEROS)
        for start in range(0, len(body), step)
    )


def _parse_leniently(body: bytes) -> Any:
    try:
        return json.loads(body, parse_int=lambda digits: int(digits[:MAX_DIGITS]))
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"The body is not UTF-8: bad byte at position {error.start}.") from None
    except json.JSONDecodeError as error:
        raise HTTPException(
            400, f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise HTTPException(400, "The body is nested too deeply to be read as JSON.") from None
