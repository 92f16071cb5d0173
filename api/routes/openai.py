"""The OpenAI dialect: embeddings and the list of models, with its error shape."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Response
from pydantic import Field, field_validator

from api.answers import json_response
from api.bodies import Body, Items
from api.deps import ReadersDep, ServicesDep
from api.generation_answers import generator_body
from api.json_body import StrictRoute
from api.topic_answers import vector_reader_body
from core.classifier_types import Classifier
from core.embed import EmbedLimits, check_count
from core.errors import CognateError, NotFound
from core.services import Services
from core.types import Float32

router = APIRouter(prefix="/v1", tags=["OpenAI dialect"], route_class=StrictRoute)


class EmbeddingsBody(Body):
    input: str | Items[str] | Items[int] | Items[Items[int]]
    model: str
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = None
    user: str | None = Field(default=None, description="Ignored.")

    @field_validator("input", mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        """Counted before they are read; numbers are the ids of one input. Raises InvalidInput."""
        if isinstance(value, list) and value and not isinstance(value[0], int):
            check_count(len(value), EmbedLimits())
        return value

    def inputs(self) -> list[str | list[int]]:
        """One text or one list of token ids is one input."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [self.input]
        return list(self.input)  # type: ignore[arg-type]  # likewise


@router.post("/embeddings")
def create_embeddings(body: EmbeddingsBody, services: ServicesDep) -> Response:
    _check_model(services, body.model)
    embedded = services.embed.embed(body.inputs(), body.dimensions)
    rows = _as_base64(embedded.vectors) if body.encoding_format == "base64" else list(embedded.vectors)
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)],
        "model": body.model,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }
    content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")


@router.get("/models")
async def list_models(services: ServicesDep, readers: ReadersDep) -> Response:
    return json_response({"object": "list", "data": await readers.run(_listed, services)})


@router.get("/models/{model:path}")
async def get_model(model: str, services: ServicesDep, readers: ReadersDep) -> Response:
    return json_response(await readers.run(_found, services, model))


def _listed(services: Services) -> list[dict[str, Any]]:
    return [*_models(services), *map(_classifier, services.classifiers.list())]


def _found(services: Services, model: str) -> dict[str, Any]:
    for known in _models(services):
        if known["id"] == model:
            return known
    try:
        return _classifier(services.classifiers.get(model))
    except NotFound:
        raise _unknown(services, model) from None


def _models(services: Services) -> list[dict[str, Any]]:
    """All but the classifiers; the generator if it can be used."""
    reader = services.topics.namer.reader
    readers = [] if reader is None else [vector_reader_body(reader.info)]
    generators = []
    with suppress(CognateError):
        generators.append(generator_body(services.generation.info))
    return [_encoder(services), _reranker(services), *generators, *readers]


def _check_model(services: Services, model: str) -> None:
    if model != services.encoder.info.id:
        raise _unknown(services, model)


def _unknown(services: Services, model: str) -> NotFound:
    known = f"{services.encoder.info.id!r} for embeddings and {services.rerank.reranker.info.id!r} to rerank"
    return NotFound(f"The model {model[:200]!r} does not exist; this server runs {known}.")


def _classifier(classifier: Classifier) -> dict[str, Any]:
    return {
        "id": classifier.name,
        "object": "model",
        "created": int(classifier.created_at.timestamp()),
        "owned_by": "cognate",
        "kind": "classifier",
        "fingerprint": classifier.encoder.fingerprint,
        "version": classifier.active,
    }


def _reranker(services: Services) -> dict[str, Any]:
    info = services.rerank.reranker.info
    return {
        "id": info.id,
        "object": "model",
        "created": 0,
        "owned_by": "cognate",
        "kind": "reranker",
        "architecture": "bi-encoder" if info.is_bi_encoder else "cross-encoder",
        "fingerprint": info.fingerprint,
        "max_tokens": info.max_tokens,
    }


def _encoder(services: Services) -> dict[str, Any]:
    info = services.encoder.info
    return {
        "id": info.id,
        "object": "model",
        "created": 0,
        "owned_by": "cognate",
        "kind": "encoder",
        "fingerprint": info.fingerprint,
        "dimensions": info.dim,
        "max_tokens": info.max_tokens,
    }


def _as_base64(vectors: Float32) -> list[str]:
    """Little-endian float32, as the clients decode it."""
    return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
