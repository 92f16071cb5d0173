"""Routes of trained classifiers; training is answered with a job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.answer_shapes import ACCEPTED, AcceptedAnswer
from api.answers import job_body, json_response
from api.classifier_answers import (
    classifier_body,
    described_classifier_body,
    examples_body,
    feedback_body,
    suggestions_body,
    version_body,
)
from api.classifier_bodies import ClassifierBody, ExamplesBody, read_examples
from api.deps import AdminsDep, ConfigDep, JobFeedDep, ReadersDep, RequestIdDep, ServicesDep, WritersDep
from api.json_body import StrictRoute
from api.waiting import until_over
from core.classifier_types import Classifier
from core.errors import NotFound
from core.job_types import Job, JobState
from core.services import Services

router = APIRouter(prefix="/v1/classifiers", tags=["classifiers"], route_class=StrictRoute)

MAX_PAGE = 1000
MAX_SUGGESTIONS = 1000
Number = Annotated[int, Query(ge=1, lt=2**31)]
VersionNumber = Annotated[
    int | None, Query(ge=1, lt=2**31, description="Which version; the active one when absent.")
]


@router.put(
    "/{name}",
    status_code=202,
    responses={
        200: {"description": "The training succeeded (wait).", "model": AcceptedAnswer},
        **ACCEPTED,
    },
)
async def put_classifier(
    name: str,
    body: ClassifierBody,
    services: ServicesDep,
    config: ConfigDep,
    writers: WritersDep,
    feed: JobFeedDep,
    request_id: RequestIdDep,
    wait: bool = False,
) -> Response:
    def put() -> Job:
        stored = _stored(services, name) if body.is_repetition else None
        return services.classifiers.put(name, body.request(stored), request_id)

    job = await writers.run(put)
    if wait:
        job = await until_over(services, feed, job, config.wait_limit_s)
    return json_response({"job": job_body(job)}, 200 if job.state is JobState.SUCCEEDED else 202)


def _stored(services: Services, name: str) -> Classifier | None:
    try:
        return services.classifiers.get(name)
    except NotFound:
        return None


@router.get("")
async def list_classifiers(services: ServicesDep, readers: ReadersDep) -> Response:
    classifiers = await readers.run(services.classifiers.list)
    return json_response({"classifiers": [classifier_body(one) for one in classifiers]})


@router.get("/{name}")
async def get_classifier(name: str, services: ServicesDep, readers: ReadersDep) -> Response:
    classifier = await readers.run(services.classifiers.get, name)
    versions = await readers.run(services.classifiers.versions, name)
    return json_response(described_classifier_body(classifier, versions))


@router.delete("/{name}", status_code=204)
async def delete_classifier(name: str, services: ServicesDep, admins: AdminsDep) -> Response:
    await admins.run(services.classifiers.delete, name)
    return Response(status_code=204)


@router.post("/{name}/examples", responses={202: {"description": "A training takes the changes in."}})
async def change_examples(
    name: str, body: ExamplesBody, services: ServicesDep, writers: WritersDep, request_id: RequestIdDep
) -> Response:
    feedback = await writers.run(
        lambda: services.classifiers.change_examples(
            name, read_examples(body.examples), body.remove, request_id
        )
    )
    return json_response(feedback_body(feedback), 202 if feedback.version is None else 200)


@router.get("/{name}/examples")
async def list_examples(
    name: str,
    services: ServicesDep,
    readers: ReadersDep,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> Response:
    examples = await readers.run(services.classifiers.examples, name, limit, after)
    return json_response(examples_body(examples, limit))


@router.get("/{name}/versions")
async def list_versions(name: str, services: ServicesDep, readers: ReadersDep) -> Response:
    versions = await readers.run(services.classifiers.versions, name)
    return json_response({"versions": [version_body(one) for one in versions]})


@router.get("/{name}/versions/compare")
def compare_versions(name: str, first: Number, second: Number, services: ServicesDep) -> Response:
    return json_response(services.classifiers.compare(name, first, second))


@router.post("/{name}/versions/{number}/activate")
async def activate_version(
    name: str, number: Annotated[int, Path(ge=1, lt=2**31)], services: ServicesDep, admins: AdminsDep
) -> Response:
    return json_response(version_body(await admins.run(services.classifiers.activate, name, number)))


@router.get("/{name}/report")
async def get_report(
    name: str, services: ServicesDep, readers: ReadersDep, version: VersionNumber = None
) -> Response:
    return json_response(await readers.run(services.classifiers.report, name, version))


@router.get(
    "/{name}/report/{plot}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "confusion, calibration, learning_curve"}},
)
def get_plot(name: str, plot: str, services: ServicesDep, version: VersionNumber = None) -> Response:
    return Response(services.classifiers.plot(name, version, plot), media_type="image/png")


@router.get("/{name}/suggest")
def suggest(
    name: str,
    services: ServicesDep,
    collection: Annotated[str, Query(description="Whose unlabelled documents.")],
    k: Annotated[int, Query(ge=1, le=MAX_SUGGESTIONS)] = 10,
) -> Response:
    return json_response(suggestions_body(services.classifiers.suggest(name, collection, k)))
