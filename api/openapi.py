"""The OpenAPI document: what the framework does not know of names, keys and the shapes of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.dialects import COHERE, ErrorShape, shape_of

TWO_DIALECTS: Final = ("/v1/classify",)  # whose bodies tell which one is spoken
ASSUMED: Final = ("HTTPValidationError", "ValidationError")  # the framework's own errors, which nobody gets
KEY: Final = "key"
TEXT: Final = {"type": "string"}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


_FIELD = _object(field=TEXT, reason=TEXT)
_PROBLEM = _object(type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT, request_id=TEXT)
_PROBLEM["properties"]["errors"] = {
    "type": "array",
    "description": "What is wrong with each field (`field`, `reason`) or item (`id`, `reason`).",
    "items": {**_FIELD, "properties": {**_FIELD["properties"], "id": TEXT}, "required": ["reason"]},
}
_NOTHING = {"type": "null"}
_OPENAI = _object(message=TEXT, type=TEXT, param=_NOTHING, code={"type": ["string", "null"]})
_VLLM = _object(message=TEXT, type=TEXT, param=_NOTHING, code={"type": "integer"})
ERRORS: Final[Mapping[str, dict[str, Any]]] = {
    "Problem": {**_PROBLEM, "description": "RFC 9457."},
    "OpenAIError": _object(error=_OPENAI),
    "TeiError": _object(error=TEXT, error_type=TEXT),
    "VllmError": _object(error=_VLLM),
    "CohereError": _object(message=TEXT, detail=TEXT),
}


def operation_id(route: APIRoute) -> str:
    """The name of the function, which is that of the call in generated clients."""
    return route.name


def install(app: FastAPI, open_paths: Sequence[str], needs_key: bool) -> None:
    """Completes the document of the app; `open_paths` are called without a key."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        is_complete = app.openapi_schema is not None
        document = make()
        if not is_complete:
            _complete(document, open_paths, needs_key)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the framework's own way to extend it


def _complete(document: dict[str, Any], open_paths: Sequence[str], needs_key: bool) -> None:
    components = document["components"]
    components["schemas"] |= ERRORS
    for assumed in ASSUMED:
        components["schemas"].pop(assumed, None)
    components["securitySchemes"] = {KEY: {"type": "http", "scheme": "bearer"}}
    if needs_key:
        document["security"] = [{KEY: []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _error_response(path)
            if path in open_paths:
                operation["security"] = []


def _error_response(path: str) -> dict[str, Any]:
    shape = shape_of(path)
    content = _content(shape)
    if path in TWO_DIALECTS:
        content |= _content(COHERE)
    return {"description": "An error.", "content": content}


def _content(shape: ErrorShape | None) -> dict[str, Any]:
    name = "Problem" if shape is None else shape.name
    kind = "application/problem+json" if shape is None else "application/json"
    return {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
