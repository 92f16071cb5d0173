"""Routes of jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.answers import job_body, json_response
from api.deps import ServicesDep
from api.json_body import StrictRoute

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


@router.get("")
def list_jobs(services: ServicesDep, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
    return json_response({"jobs": [job_body(job) for job in services.jobs.list(limit)]})


@router.get("/{job_id}")
def get_job(job_id: str, services: ServicesDep) -> Response:
    return json_response(job_body(services.jobs.get(job_id)))


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, services: ServicesDep) -> Response:
    return json_response(job_body(services.jobs.cancel(job_id)))
