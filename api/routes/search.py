"""Routes of search."""

from __future__ import annotations

import time

import orjson
from fastapi import APIRouter, Request, Response

from api.answer_shapes import SearchAnswer, SearchBatchAnswer
from api.answers import json_response, search_body
from api.bodies import SearchBatchBody, SearchBody
from api.deps import MetricsDep, ReadersDep, SearchersDep, ServicesDep
from api.json_body import StrictRoute
from api.metrics import Metrics
from core.blame import blaming, naming
from core.search import SearchResult
from core.search_request import SearchRequest
from core.services import Services

SHORT_BYTES = 64 * 1024  # of a body whose filter is read faster than it is handed to another thread

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"], route_class=StrictRoute)


@router.post("/search", responses={200: {"model": SearchAnswer}})
async def search(
    name: str,
    body: SearchBody,
    http: Request,
    services: ServicesDep,
    metrics: MetricsDep,
    searchers: SearchersDep,
    readers: ReadersDep,
) -> Response:
    started = time.perf_counter()
    is_short = 0 < int(http.headers.get("content-length", 0)) <= SHORT_BYTES
    asked = (
        body.request() if is_short else await readers.run(body.request)
    )  # a filter may have a million values
    content = await searchers.run(
        lambda: answered(services, metrics, name, asked, started),
        may_wait=services.search.may_wait(name, asked),
    )
    return Response(content, media_type="application/json")


def answered(
    services: Services, metrics: Metrics, name: str, request: SearchRequest, started: float
) -> bytes:
    """The JSON of the answer to a search that was received at `started` of `time.perf_counter`."""
    result = services.search.search(name, request)
    _observe(metrics, result)
    return orjson.dumps(search_body(result, (time.perf_counter() - started) * 1000))


@router.post("/search/batch", responses={200: {"model": SearchBatchAnswer}})
def search_batch(name: str, body: SearchBatchBody, services: ServicesDep, metrics: MetricsDep) -> Response:
    started = time.perf_counter()
    with naming("searches"):
        results = services.search.search_batch(name, _requests(body))
    for result in results:
        _observe(metrics, result)
    total_ms = (time.perf_counter() - started) * 1000
    return json_response({"results": [search_body(result, total_ms) for result in results]})


def _requests(body: SearchBatchBody) -> list[SearchRequest]:
    """Raises InvalidInput that says by `item` which search makes no sense."""
    requests = []
    for i, item in enumerate(body.searches):
        with blaming(i):
            requests.append(item.request())
    return requests


def _observe(metrics: Metrics, result: SearchResult) -> None:
    metrics.observe_stage("encode", result.encode_ms)
    metrics.observe_stage("search", result.search_ms)
    metrics.observe_stage("fetch", result.fetch_ms)
