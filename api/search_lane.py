"""The short way of a plain search: to the use case and back without what serves every route."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError
from starlette.datastructures import URLPath
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import SearchBody
from api.json_body import PARSE_IN_THREAD_FROM_BYTES, parse
from api.metrics import Metrics
from api.routes.search import answered
from api.threads import Searchers
from core.errors import CognateError
from core.search_request import SearchRequest
from core.services import Services

PATH: Final = re.compile(r"/v1/collections/([^/]+)/search")
PASSED_ON: Final = "cognate.passed_on"


class SearchLane(BaseRoute):
    """Stands before the route of the same path, and answers what is asked for in the plain way.

    Resolving that route takes as much time as half a search. A request with a query string, a large body, one
    that is no JSON or has faults goes on to it with its body as it was, so there is one place that refuses.
    Errors of the search itself become answers around the router, as those of every route.
    """

    path = "/v1/collections/{name}/search"

    def __init__(self, services: Services, metrics: Metrics, searchers: Searchers, router: ASGIApp) -> None:
        self._services, self._metrics, self._searchers = services, metrics, searchers
        self._router = router

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "POST" or PASSED_ON in scope:
            return Match.NONE, {}
        if scope["query_string"] or not PATH.fullmatch(scope["path"]) or not _is_small_json(scope["headers"]):
            return Match.NONE, {}
        return Match.FULL, {"route": self}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        body = await _read(receive)
        if body is None:
            return
        request = _plain(body)
        if request is None:
            scope[PASSED_ON] = True
            await self._router(scope, _again(body, receive), send)
            return
        found = PATH.fullmatch(scope["path"])
        assert found is not None
        name = found[1]
        content = await self._searchers.run(
            lambda: answered(self._services, self._metrics, name, request, started),
            may_wait=self._services.search.may_wait(name, request),
        )
        headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _is_small_json(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a body of JSON is announced that is read on the spot."""
    kind, length = b"", b""
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-length":
            length = value
    return kind == b"application/json" and length.isdigit() and int(length) < PARSE_IN_THREAD_FROM_BYTES


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when the caller has gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _plain(body: bytes) -> SearchRequest | None:
    """What is asked for; None where anything is wrong with it."""
    try:
        return SearchBody.model_validate(parse(body)).request()
    except (ValidationError, HTTPException, CognateError):
        return None


def _again(body: bytes, receive: Receive) -> Receive:
    """Receives the body that was read already, then what follows it."""
    is_read = False

    async def receive_again() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
