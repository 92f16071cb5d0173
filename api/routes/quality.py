"""Routes of judgements, and of what is measured and tuned on them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.answers import json_response
from api.bodies import JudgementsBody, TuneBody
from api.deps import ReadersDep, ServicesDep, WritersDep
from api.json_body import StrictRoute
from api.quality_answers import counts_body, judged_body, quality_body, tune_body
from core.quality import QualityLimits, QualityRequest

router = APIRouter(prefix="/v1/collections/{name}", tags=["quality"], route_class=StrictRoute)

MAX_PAGE = 1000
LIMITS = QualityLimits()


@router.put("/judgements")
async def put_judgements(
    name: str, body: JudgementsBody, services: ServicesDep, writers: WritersDep
) -> Response:
    counts = await writers.run(lambda: services.judgements.replace(name, body.sent()))
    return json_response(counts_body(counts))


@router.get("/judgements")
async def get_judgements(
    name: str,
    services: ServicesDep,
    readers: ReadersDep,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    after: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> Response:
    counts, page = await readers.run(services.judgements.read, name, limit, after)
    return json_response({**counts_body(counts), **judged_body(page)})


@router.delete("/judgements")
async def delete_judgements(name: str, services: ServicesDep, writers: WritersDep) -> Response:
    return json_response({"deleted": await writers.run(services.judgements.clear, name)})


@router.get("/quality")
def get_quality(
    name: str,
    services: ServicesDep,
    modes: Annotated[str, Query(max_length=200, description="By commas; all modes when absent.")] = "",
    k: int = 10,
    queries: Annotated[
        int, Query(description="How many judged queries to run at most.")
    ] = LIMITS.max_queries,
    seed: Annotated[int, Query(ge=0, lt=2**32)] = 0,
    worst: Annotated[int, Query(description="How many of the worst queries to list a mode.")] = 0,
    rewrite: Annotated[
        bool, Query(description="Each mode without rewrites of the query, and with them; takes long.")
    ] = False,
) -> Response:
    named = tuple(mode.strip() for mode in modes.split(",")) if modes else ()
    report = services.quality.measure(name, QualityRequest(named, k, queries, seed, worst, rewrite))
    return json_response(quality_body(report))


@router.post("/tune")
def tune(name: str, services: ServicesDep, body: TuneBody | None = None) -> Response:
    return json_response(tune_body(services.tune.tune(name, (body or TuneBody()).request())))
