"""Error shapes of the dialects; every other route answers problem+json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

ERROR_SHAPE: Final = "error_shape"  # in a request's state: the dialect that its body told
BODY_TAGS: Final = ("contract", "cohere")  # of the bodies that one route tells apart


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """How a dialect says no: its body for (status, message), and statuses it calls otherwise.

    `name` is that of the body in the OpenAPI document.
    """

    name: str
    body: Callable[[int, str], dict[str, Any]]
    renamed: Mapping[int, int]


def shape_of(path: str) -> ErrorShape | None:
    """The dialect's shape for the route at `path`, None for our own routes."""
    return next(
        (shape for prefix, shape in SHAPES.items() if path == prefix or path.startswith(prefix + "/")), None
    )


def _openai_body(status: int, message: str) -> dict[str, Any]:
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "model_not_found" if status == HTTPStatus.NOT_FOUND else None
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _tei_body(status: int, message: str) -> dict[str, Any]:
    kinds = {429: "Overloaded", 503: "Unhealthy", 413: "Validation", 422: "Validation", 401: "Unauthorized"}
    return {"error": message, "error_type": kinds.get(status, "Backend" if status >= 500 else "Validation")}


def _vllm_body(status: int, message: str) -> dict[str, Any]:
    kind = HTTPStatus(status).phrase.title().replace(" ", "").removesuffix("Error") + "Error"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _cohere_body(_status: int, message: str) -> dict[str, Any]:
    """Cohere's clients read `message`, Jina's `detail`."""
    return {"message": message, "detail": message}


# OpenAI and Cohere answer 400 where others answer 413, 415 or 422.
OPENAI = ErrorShape("OpenAIError", _openai_body, {413: 400, 415: 400, 422: 400})
TEI = ErrorShape("TeiError", _tei_body, {})
VLLM = ErrorShape("VllmError", _vllm_body, {413: 400, 415: 400, 422: 400})
COHERE = ErrorShape("CohereError", _cohere_body, {413: 400, 415: 400, 422: 400})
SHAPES: Mapping[str, ErrorShape] = {
    "/v1/embeddings": OPENAI,
    "/v1/models": OPENAI,
    "/": TEI,
    "/embed": TEI,
    "/similarity": TEI,
    "/info": TEI,
    "/rerank": TEI,
    "/predict": TEI,
    "/classify": VLLM,
    "/v1/rerank": COHERE,
    "/v2/rerank": COHERE,
}
