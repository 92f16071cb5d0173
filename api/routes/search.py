"""Routes of search."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response

from api.answers import json_response, search_body
from api.bodies import SearchBatchBody, SearchBody
from api.deps import MetricsDep, SearchersDep, ServicesDep
from api.json_body import StrictRoute
from core.search import SearchResult

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"], route_class=StrictRoute)


@router.post("/search")
async def search(
    name: str, body: SearchBody, services: ServicesDep, metrics: MetricsDep, searchers: SearchersDep
) -> Response:
    started = time.perf_counter()
    request = body.request()

    def answer() -> Response:
        result = services.search.search(name, request)
        _observe(metrics, result)
        return json_response(search_body(result, (time.perf_counter() - started) * 1000))

    return await searchers.run(answer, may_wait=services.search.may_wait(name, request))


@router.post("/search/batch")
def search_batch(name: str, body: SearchBatchBody, services: ServicesDep, metrics: MetricsDep) -> Response:
    started = time.perf_counter()
    requests = [item.request() for item in body.searches]
    results = services.search.search_batch(name, requests)
    for result in results:
        _observe(metrics, result)
    total_ms = (time.perf_counter() - started) * 1000
    return json_response({"results": [search_body(result, total_ms) for result in results]})


def _observe(metrics: MetricsDep, result: SearchResult) -> None:
    metrics.observe_stage("encode", result.encode_ms)
    metrics.observe_stage("search", result.search_ms)
    metrics.observe_stage("fetch", result.fetch_ms)
