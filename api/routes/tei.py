"""The text-embeddings-inference dialect: `/embed`, also at `/`, `/similarity` and `/info`."""

from __future__ import annotations

from typing import Any, Literal

import anyio.to_thread
import orjson
from fastapi import APIRouter, Response
from pydantic import Field, field_validator

from api.answers import json_response, truncation_headers
from api.bodies import Body, Items
from api.deps import ConfigDep, ServicesDep
from api.dialect_texts import CutSide
from api.json_body import StrictRoute
from core.embed import EmbedLimits, check_count

DTYPES = {"int8": "int8", "bf16": "bfloat16", "f32": "float32"}

router = APIRouter(tags=["text-embeddings-inference dialect"], route_class=StrictRoute)


class EmbedBody(Body):
    inputs: str | Items[str] | Items[Items[int]]
    truncate: bool | None = False
    truncation_direction: CutSide = Field(default="Right", description="The end is cut.")
    prompt_name: None = Field(default=None, description="Inputs are encoded as they are.")
    normalize: Literal[True] = Field(default=True, description="Vectors are always of unit length.")
    dimensions: int | None = None

    @field_validator("inputs", mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        """Counted before they are read. Raises InvalidInput."""
        if isinstance(value, list):
            check_count(len(value), EmbedLimits())
        return value


@router.post("/", name="embed_at_root")  # where the client of huggingface_hub asks, given a server
@router.post("/embed")
def embed(body: EmbedBody, services: ServicesDep) -> Response:
    inputs = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    embedded = services.embed.embed(inputs, body.dimensions, bool(body.truncate))
    content = orjson.dumps(list(embedded.vectors), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, headers=truncation_headers(embedded.truncated), media_type="application/json")


class SimilarityInputs(Body):
    source_sentence: str
    sentences: Items[str] = Field(min_length=1, max_length=EmbedLimits().max_inputs - 1)


class SimilarityParameters(Body):
    truncate: bool | None = False
    truncation_direction: CutSide = "Right"
    prompt_name: None = Field(default=None, description="Inputs are encoded as they are.")


class SimilarityBody(Body):
    inputs: SimilarityInputs
    parameters: SimilarityParameters = SimilarityParameters()


@router.post("/similarity")
def similarity(body: SimilarityBody, services: ServicesDep) -> Response:
    """Cosines of the source sentence, which errors call input 0, with the others."""
    texts = [body.inputs.source_sentence, *body.inputs.sentences]
    embedded = services.embed.embed(texts, truncate=bool(body.parameters.truncate))
    source, *others = embedded.vectors
    response = json_response([float(other @ source) for other in others])
    response.headers.update(truncation_headers(embedded.truncated))
    return response


@router.get("/info")
async def info(services: ServicesDep, config: ConfigDep) -> Response:
    encoder = services.encoder.info
    at_once = int(anyio.to_thread.current_default_thread_limiter().total_tokens)  # each call has a thread
    return json_response(
        {
            "model_id": encoder.id,
            "model_sha": encoder.fingerprint,
            "model_dtype": DTYPES[config.precision],
            "served_model_name": encoder.id,
            "model_type": {"embedding": {"pooling": services.embed.encoder.pooling}},
            "max_concurrent_requests": at_once,
            "max_input_length": encoder.max_tokens,
            "max_batch_tokens": services.embed.encoder.batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": services.embed.limits.max_inputs,
            "auto_truncate": False,
            "tokenization_workers": at_once,
            "version": config.version,
            "sha": None,
            "docker_label": None,
        }
    )
