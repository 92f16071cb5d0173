"""Routes that label whole collections with a trained classifier."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answer_shapes import ACCEPTED
from api.answers import job_body, json_response
from api.classifier_answers import rules_body
from api.classifier_bodies import LabelCollectionBody
from api.deps import AdminsDep, ReadersDep, RequestIdDep, ServicesDep
from api.json_body import StrictRoute

router = APIRouter(prefix="/v1/collections/{name}/classify", tags=["classify"], route_class=StrictRoute)


@router.post("", status_code=202, responses=ACCEPTED)
async def label_collection(
    name: str, body: LabelCollectionBody, services: ServicesDep, admins: AdminsDep, request_id: RequestIdDep
) -> Response:
    job = await admins.run(services.classifiers.label_collection, name, body.asked(), request_id)
    return json_response({"job": job_body(job)}, 202)


@router.get("")
async def list_rules(name: str, services: ServicesDep, readers: ReadersDep) -> Response:
    return json_response(rules_body(await readers.run(services.classifiers.rules, name)))


@router.delete(
    "/{field:path}",
    status_code=204,
    responses=ACCEPTED,
)
async def delete_rule(
    name: str,
    field: str,
    services: ServicesDep,
    admins: AdminsDep,
    request_id: RequestIdDep,
    labels: bool = False,
) -> Response:
    """With `labels`, what was written is taken off too, as a job (202)."""
    if labels:
        job = await admins.run(services.classifiers.remove_labels, name, field, request_id)
        return json_response({"job": job_body(job)}, 202)
    await admins.run(services.classifiers.remove_rule, name, field)
    return Response(status_code=204)
