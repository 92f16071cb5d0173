"""The error table: which error becomes which HTTP status, as RFC 9457 problem+json."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from api.dialects import ERROR_SHAPE, ErrorShape, shape_of
from api.field_errors import explain_fields
from api.json_body import SHOWN_DIGITS
from core.errors import (
    CognateError,
    Conflict,
    EncoderMismatch,
    InvalidInput,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unavailable,
)

log = logging.getLogger(__name__)

STATUS_OF: Mapping[type[CognateError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    EncoderMismatch: HTTPStatus.CONFLICT,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
}
MAX_ERRORS = 100
METHODS = ("GET", "PUT", "PATCH", "POST", "DELETE")
LONG_INTEGER = re.compile(rf"(?<![\w'\".])(-\d{{{SHOWN_DIGITS - 1}}}|\d{{{SHOWN_DIGITS}}})\d+")


def problem(
    path: str,
    status: int,
    detail: str,
    request_id: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    shape: ErrorShape | None = None,
) -> Response:
    """The answer of the route at `path` to an error: problem+json (RFC 9457), or its dialect's shape.

    `shape` is given where the path alone does not tell the dialect.
    """
    if shape := shape or shape_of(path):
        status = shape.renamed.get(status, status)
        content = orjson.dumps(shape.body(status, detail))
        return Response(content, status, headers, media_type="application/json")
    title = HTTPStatus(status).phrase
    body: dict[str, Any] = {
        "type": f"urn:cognate:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = list(errors)[:MAX_ERRORS]
    content = orjson.dumps(body, default=str)
    return Response(content, status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Registers the table on the app. What answers is async: else it would wait for one of the threads."""
    app.add_exception_handler(CognateError, _on_cognate_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def _answer(
    request: Request,
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    state = request.scope.get("state", {})
    request_id, shape = str(state.get("request_id", "")), state.get(ERROR_SHAPE)
    return problem(request.url.path, status, _printable(detail), request_id, errors, headers, shape)


async def _on_cognate_error(request: Request, error: Exception) -> Response:
    status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), None)
    if status is None:
        log.error("error without a status", exc_info=error)
        return _answer(request, 500, "Internal error; the log has the details.")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # not the caller's fault, so who runs it is told
        told = {"method": request.method, "path": request.url.path, "status": int(status)}
        log.warning("request not served", extra={**told, "reason": str(error)})
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    elif isinstance(error, Unavailable):
        headers["Retry-After"] = "1"
    errors = [_shortened(one) for one in error.errors] if isinstance(error, InvalidInput) else ()
    return _answer(request, status, str(error), errors, headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[:MAX_ERRORS]
    errors = [
        {"field": _printable(one["field"]), "reason": _printable(one["reason"])}
        for one in explain_fields(found, error.body)
    ]
    detail = "; ".join(f"{e['field']}: {e['reason']}" for e in errors[:3])
    if isinstance(error.body, bytes):  # not read, as it is not said to be JSON
        content_type = request.headers.get("content-type")
        told = "missing" if not content_type else repr(content_type[:100])
        return _answer(request, 415, f"Content-Type is {told}; send application/json.")
    return _answer(request, 422, detail, errors)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail, headers = error.detail, error.headers
    if error.status_code == 404 and detail == "Not Found":
        detail = f"There is nothing at {request.url.path}; see /docs for the routes."
    elif error.status_code == 405:
        detail = f"{request.method} is not allowed at {request.url.path}; see /docs for the routes."
        headers = {"Allow": ", ".join(_allowed(request))}
    return _answer(request, error.status_code, detail, (), headers)


def _allowed(request: Request) -> list[str]:
    """The methods of all routes at the path; the framework names those of the first."""
    routes = request.app.router.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _shortened(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**one, "reason": _printable(str(one["reason"]))} if "reason" in one else one


def _printable(text: str) -> str:
    """Of bounded length, with a mark where an integer was read in part only; what is quoted stays whole."""
    shown = LONG_INTEGER.sub(r"\1…", text)
    return shown.encode(errors="replace").decode()[:2000]
