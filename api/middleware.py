"""Around every request, from the outside in: request id, access log and metrics; scripts of other origins;
API key, body limit, and a last net for errors.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
import uuid
from collections.abc import Sequence

import structlog
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.config import ApiConfig, digest
from api.metrics import Metrics
from api.problems import METHODS, problem

log = logging.getLogger("api.access")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
EXPOSED_HEADERS = ("X-Request-ID", "Retry-After", "X-Truncated-Count", "X-Truncated-Inputs")
OPEN_PATHS = ("/health", "/health/live", "/health/ready")
DOCS_PATHS = ("/docs", "/redoc", "/openapi.json")  # which browsers ask for, and those send no key
DOCS_ASSETS = "/docs/assets"
NOT_DELETED = (
    "Addresses of what is deleted do not end in a slash. Clients fold '.../c/documents/..' to '.../c/', the"
    " collection: delete documents with such ids by POST /v1/collections/{name}/documents/delete."
)
UPLOAD_PATH = re.compile(r"/v1/collections/[^/]+/import")


def install(app: Starlette, config: ApiConfig, metrics: Metrics) -> None:
    """Puts the layers around the app; what is added last is outermost."""
    app.add_middleware(Guard, config=config)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors_origins,
            allow_methods=("HEAD", *METHODS),
            allow_headers=("*",),  # clients send some of their own; cookies mean nothing here
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(Edge, metrics=metrics)


class Edge:
    """Pure ASGI middleware around all others, so that every answer, errors included, passes it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":  # answered as GET; the server leaves the body out
            scope = {**scope, "method": "GET"}
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {}).update(request_id=request_id, is_head=method == "HEAD")
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started, answer = time.perf_counter(), _Answer(send, request_id)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            self._record(scope, method, answer.status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id")

    def _record(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.observe_request(method, route, status, seconds)
        if log.isEnabledFor(logging.INFO) and scope["path"] not in OPEN_PATHS:
            log.info(
                "request",
                extra={
                    "method": method,
                    "path": scope["path"],
                    "status": status,
                    "took_ms": round(seconds * 1000, 2),
                },
            )


class Guard:
    """Pure ASGI middleware before the routes; what it refuses is an answer as any other."""

    def __init__(self, app: ASGIApp, config: ApiConfig) -> None:
        self._app, self._config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, request_id = scope["path"], scope["state"]["request_id"]
        if refusal := self._refusal(scope["method"], path, Headers(scope=scope), request_id):
            await refusal(scope, receive, send)
            return
        is_answered = False

        async def answer(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, _counted(receive, self._limit(path)), answer)
        except Exception:  # the server's outer edge: log it, tell the caller no details
            log.exception("request failed", extra={"method": scope["method"], "path": path})
            if not is_answered:
                failure = problem(path, 500, "Internal error; the log has the details.", request_id)
                await failure(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Headers, request_id: str) -> Response | None:
        """The answer to a request that must not reach the routes."""
        if not is_host_allowed(headers.get("host", ""), self._config.allowed_hosts):
            detail = "Without API keys only loopback names are answered; set COGNATE_API_KEYS for others."
            return problem(path, 421, detail, request_id)
        config = self._config
        if method not in SAFE_METHODS and not is_origin_allowed(
            headers, config.allowed_hosts, config.cors_origins
        ):
            detail = (
                "Without API keys pages of other sites change nothing here; set COGNATE_API_KEYS, or name the"
                " page's origin in COGNATE_CORS_ORIGINS."
            )
            return problem(path, 403, detail, request_id)
        is_open = path in (*OPEN_PATHS, *DOCS_PATHS) or path.startswith(f"{DOCS_ASSETS}/")
        if not is_open and not is_allowed(headers.get("authorization"), self._config.key_hashes):
            detail = "A valid API key is needed: send 'Authorization: Bearer <key>'."
            return problem(path, 401, detail, request_id, headers={"WWW-Authenticate": "Bearer"})
        if method == "DELETE" and path.endswith("/"):  # no redirect: the caller may have meant something else
            return problem(path, 404, NOT_DELETED, request_id)
        if int(headers.get("content-length") or 0) > self._limit(path):
            return problem(path, 413, _too_large(self._limit(path)), request_id)
        return None

    def _limit(self, path: str) -> int:
        config = self._config
        return config.max_upload_bytes if UPLOAD_PATH.fullmatch(path) else config.max_body_bytes


class _Answer:
    """Adds the request id to the response and remembers its status (0 = not started)."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id, self.status = send, request_id, 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])  # an HTTPStatus would be logged by its name
            MutableHeaders(scope=message)["X-Request-ID"] = self._request_id
        await self._send(message)


def is_allowed(authorization: str | None, key_hashes: Sequence[bytes]) -> bool:
    """Whether the header carries one of the keys; compared in constant time over all of them."""
    if not key_hashes:
        return True
    scheme, _, key = (authorization or "").partition(" ")
    found = digest(key.strip())
    matches = [hmac.compare_digest(found, expected) for expected in key_hashes]
    return any(matches) and scheme.lower() == "bearer"


def is_host_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Whether the Host header names one of the allowed hosts, whatever the port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return not allowed or name.lower() in allowed


def is_origin_allowed(headers: Headers, allowed: Sequence[str], origins: Sequence[str] = ()) -> bool:
    """Whether a request that changes something comes from no browser, or from a page of an allowed host or
    one of the `origins`.

    A form of any page may be sent to any address, so without keys a page that its user only looks at could
    write here.
    """
    origin = headers.get("origin")
    if origin is None:
        return not allowed or headers.get("sec-fetch-site") != "cross-site"
    return origin in origins or is_host_allowed(origin.partition("://")[2], allowed)


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return limited


def _too_large(limit: int) -> str:
    return f"The body is larger than the limit of {limit:,} bytes; send less at a time."


def _request_id(given: str | None) -> str:
    return given if given and REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
