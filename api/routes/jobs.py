"""Routes of jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api.answer_shapes import JobAnswer, JobsAnswer
from api.answers import job_body, json_response
from api.deps import IsHeadDep, JobFeedDep, ReadersDep, ServicesDep, WritersDep
from api.job_events import FINAL_ID, job_events
from api.json_body import StrictRoute
from core.job_types import JobState

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


@router.get("", responses={200: {"model": JobsAnswer}})
async def list_jobs(
    services: ServicesDep,
    readers: ReadersDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    before: Annotated[
        str | None, Query(max_length=100, description="Id of a job: only older ones, for the next page.")
    ] = None,
) -> Response:
    jobs = await readers.run(services.jobs.list, limit, state, before)
    return json_response({"jobs": [job_body(job) for job in jobs]})


@router.get("/{job_id}", responses={200: {"model": JobAnswer}})
async def get_job(job_id: str, services: ServicesDep, readers: ReadersDep) -> Response:
    return json_response(job_body(await readers.run(services.jobs.get, job_id)))


@router.get(
    "/{job_id}/events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "The job, now and at each change."},
        204: {"description": "The final state was sent before: do not reconnect."},
    },
)
async def follow_job(
    job_id: str,
    services: ServicesDep,
    writers: WritersDep,
    feed: JobFeedDep,
    is_head: IsHeadDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    job = await writers.run(services.jobs.get, job_id)
    if job.state.is_final and last_event_id == FINAL_ID:
        return Response(status_code=204)
    return job_events(feed, job, is_head)


@router.post("/{job_id}/cancel", responses={200: {"model": JobAnswer}})
async def cancel_job(job_id: str, services: ServicesDep, writers: WritersDep) -> Response:
    return json_response(job_body(await writers.run(services.jobs.cancel, job_id)))
