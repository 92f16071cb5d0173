"""Strict reading of JSON bodies: fast for good ones, tolerant enough to blame a single bad item."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException


class StrictJSONRequest(Request):
    """Parses with orjson. What it refuses (NaN, lone surrogates) is read again leniently, so that the
    document or field at fault can be named by the checks that follow; broken syntax answers 400."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return _parse_leniently(body)


class StrictJSONRoute(APIRoute):
    """Route class that hands `StrictJSONRequest` to its handler."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(StrictJSONRequest(request.scope, request.receive))

        return strict


def _parse_leniently(body: bytes) -> Any:
    try:
        return json.loads(body)
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"The body is not UTF-8: bad byte at position {error.start}.") from None
    except json.JSONDecodeError as error:
        raise HTTPException(
            400, f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise HTTPException(400, "The body is nested too deeply to be read as JSON.") from None
