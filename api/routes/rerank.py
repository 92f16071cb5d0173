"""Reranking in the dialects of text-embeddings-inference, and of Cohere and Jina."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
from fastapi import APIRouter, Response
from pydantic import Field, field_validator

from api.answers import json_response, truncation_headers
from api.bodies import Body, Items
from api.deps import ServicesDep
from api.dialect_texts import CutSide
from api.json_body import StrictRoute
from core.errors import InvalidInput, NotFound
from core.rerank import LongDocuments, Ranking, RerankLimits, RerankService, check_count

router = APIRouter(tags=["rerank dialects"], route_class=StrictRoute)

DEFAULT_CHUNKS = 10  # of a document, Cohere's version 1
DEFAULT_TOKENS = 4096  # of a document, Cohere's version 2
DOCUMENTS_A_SEARCH_UNIT = 100
MAX_NAMED = 20  # documents in a warning


def _counted(items: Any, noun: str) -> Any:
    """Counted before they are read, which takes seconds for millions. Raises InvalidInput."""
    if isinstance(items, list):
        check_count(len(items), noun, RerankLimits())
    return items


class TeiRerankBody(Body):
    query: str
    texts: Items[str]
    raw_scores: bool = Field(default=False, description="Scores of the model instead of 0 to 1.")
    return_text: bool = False
    truncate: bool | None = Field(default=False, description="Read the start of texts that are too long.")
    truncation_direction: CutSide = "Right"

    @field_validator("texts", mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        return _counted(value, "text")


@router.post("/rerank")
def rerank_tei(body: TeiRerankBody, services: ServicesDep) -> Response:
    reading = LongDocuments(max_chunks=1, is_refused=not body.truncate, noun="text")
    ranking = services.rerank.rank(body.query, body.texts, reading)
    scores = ranking.scores if body.raw_scores else services.rerank.relevance(ranking.scores)
    results: list[dict[str, Any]] = [{"index": i, "score": float(scores[i])} for i in ranking.order]
    if body.return_text:
        results = [{**result, "text": body.texts[result["index"]]} for result in results]
    response = json_response(results)
    response.headers.update(truncation_headers(ranking.truncated))
    return response


class CohereRerankBody(Body):
    """What version 1 of Cohere's interface, version 2, and Jina's have in common and apart."""

    query: str
    documents: Items[str | dict[str, Any]]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool = False
    rank_fields: Items[str] | None = Field(default=None, description="Of documents that are objects.")
    max_chunks_per_doc: int | None = None
    max_tokens_per_doc: int | None = None
    priority: int | None = Field(default=None, description="Ignored.")

    @field_validator("documents", mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        return _counted(value, "document")

    def texts(self) -> list[str]:
        """What is read of each document. Raises InvalidInput naming the one at fault."""
        return [self._text(document, i) for i, document in enumerate(self.documents)]

    def check_echo(self) -> None:
        """Raises InvalidInput for a document that is to come back and cannot."""
        for i, document in enumerate(self.documents if self.return_documents else ()):
            try:
                orjson.dumps(document)
            except TypeError as error:
                raise InvalidInput(f"documents[{i}] cannot be returned as JSON: {error}.") from None

    def _text(self, document: str | dict[str, Any], i: int) -> str:
        if isinstance(document, str):
            return document
        fields = ["text"] if self.rank_fields is None else self.rank_fields
        found = [document[field] for field in fields if field in document]
        if not found or not all(isinstance(value, str) for value in found):
            strings = [repr(field) for field, value in document.items() if isinstance(value, str)]
            raise InvalidInput(
                f"documents[{i}] needs a string in {' or '.join(map(repr, fields))[:200] or 'rank_fields'};"
                f" it has {', '.join(strings)[:200] or 'none'}."
            )
        return "\n".join(found)

    def reading(self, default: LongDocuments) -> LongDocuments:
        """How much of long documents is read; what is not said is as in `default`."""
        for name in ("top_n", "max_chunks_per_doc", "max_tokens_per_doc"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"{name} is {value}; it must be 1 or more.")
        if self.max_chunks_per_doc is None and self.max_tokens_per_doc is None:
            return default
        return LongDocuments(max_tokens=self.max_tokens_per_doc, max_chunks=self.max_chunks_per_doc)


@router.post("/v1/rerank")
def rerank_v1(body: CohereRerankBody, services: ServicesDep) -> Response:
    return _answer(body, services.rerank, "1", LongDocuments(max_chunks=DEFAULT_CHUNKS))


@router.post("/v2/rerank")
def rerank_v2(body: CohereRerankBody, services: ServicesDep) -> Response:
    return _answer(body, services.rerank, "2", LongDocuments(max_tokens=DEFAULT_TOKENS))


def _answer(body: CohereRerankBody, service: RerankService, version: str, long: LongDocuments) -> Response:
    model = service.reranker.info.id
    if body.model not in (None, model):
        raise NotFound(f"The model {body.model[:200]!r} does not exist; this server reranks with {model!r}.")
    body.check_echo()
    ranking = service.rank(body.query, body.texts(), body.reading(long))
    relevance = service.relevance(ranking.scores)
    results: list[dict[str, Any]] = []
    for i in ranking.order[: body.top_n]:
        result: dict[str, Any] = {"index": i, "relevance_score": float(relevance[i])}
        if body.return_documents:
            document = body.documents[i]
            result["document"] = {"text": document} if isinstance(document, str) else document
        results.append(result)
    return json_response(
        {
            "id": str(uuid.uuid4()),
            "model": model,
            "results": results,
            "usage": {"prompt_tokens": ranking.tokens, "total_tokens": ranking.tokens},
            "meta": _meta(ranking, version),
        }
    )


def _meta(ranking: Ranking, version: str) -> dict[str, Any]:
    units = -(-ranking.pairs // DOCUMENTS_A_SEARCH_UNIT)
    meta: dict[str, Any] = {"api_version": {"version": version}, "billed_units": {"search_units": units}}
    if cut := ranking.truncated:
        named = ", ".join(map(str, cut[:MAX_NAMED])) + (", …" if len(cut) > MAX_NAMED else "")
        meta["warnings"] = [f"Only the start was read of {len(cut)} documents: {named}."]
    return meta
