"""Routes of backups; what takes long is answered with a job."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answer_shapes import ACCEPTED
from api.answers import backup_body, job_body, json_response
from api.bodies import BackupBody, RestoreBody
from api.deps import AdminsDep, RequestIdDep, ServicesDep
from api.json_body import StrictRoute

router = APIRouter(prefix="/v1/admin/backups", tags=["backups"], route_class=StrictRoute)


@router.post("", status_code=202, responses=ACCEPTED)
async def create_backup(
    services: ServicesDep, admins: AdminsDep, request_id: RequestIdDep, body: BackupBody | None = None
) -> Response:
    body = body or BackupBody()
    job = await admins.run(services.backups.create, body.name, body.collection, request_id)
    return json_response({"job": job_body(job)}, 202)


@router.get("")
async def list_backups(services: ServicesDep, admins: AdminsDep) -> Response:
    backups = await admins.run(services.backups.list)
    return json_response({"backups": [backup_body(backup) for backup in backups]})


@router.get("/{backup}")
async def get_backup(backup: str, services: ServicesDep, admins: AdminsDep) -> Response:
    return json_response(backup_body(await admins.run(services.backups.get, backup)))


@router.delete("/{backup}", status_code=204)
async def delete_backup(backup: str, services: ServicesDep, admins: AdminsDep) -> Response:
    await admins.run(services.backups.delete, backup)
    return Response(status_code=204)


@router.post("/{backup}/restore", status_code=202, responses=ACCEPTED)
async def restore_backup(
    backup: str,
    services: ServicesDep,
    admins: AdminsDep,
    request_id: RequestIdDep,
    body: RestoreBody | None = None,
) -> Response:
    request = (body or RestoreBody()).request()
    job = await admins.run(services.backups.restore, backup, request, request_id)
    return json_response({"job": job_body(job)}, 202)


@router.post("/{backup}/verify", status_code=202, responses=ACCEPTED)
async def verify_backup(
    backup: str, services: ServicesDep, admins: AdminsDep, request_id: RequestIdDep
) -> Response:
    job = await admins.run(services.backups.verify, backup, request_id)
    return json_response({"job": job_body(job)}, 202)
