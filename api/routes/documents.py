"""Routes of documents: add, import a file, read, delete."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from starlette.convertors import Convertor, register_url_convertor

from api.answers import document_body, job_body, json_response
from api.bodies import DeleteBody, DocumentsBody
from api.deps import ConfigDep, ServicesDep, WritersDep
from api.json_body import StrictRoute
from api.waiting import wait_for_job
from core.errors import InvalidInput, TooLarge
from core.services import Services
from core.types import DocumentState, ImportFields, Job


class AnyText(Convertor[str]):
    """The rest of the path, whatever it holds: ids may have slashes and line breaks."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", AnyText())
router = APIRouter(prefix="/v1/collections/{name}", tags=["documents"], route_class=StrictRoute)

MAX_PAGE = 1000
FORM_FIELDS = {"file", "id_field", "text_field", "title_field", "metadata_fields"}
ColumnName = Annotated[str | None, Form(max_length=500)]


@router.post("/documents", status_code=202, responses={200: {"description": "All are searchable (wait)."}})
async def add_documents(
    name: str,
    body: DocumentsBody,
    services: ServicesDep,
    config: ConfigDep,
    writers: WritersDep,
    wait: bool = False,
) -> Response:
    if len(body.documents) > config.max_documents:
        raise TooLarge(
            f"{len(body.documents):,} documents were sent; {config.max_documents:,} fit in a call."
        )
    collection = await writers.run(services.collections.open, name)
    job = await writers.run(services.ingest.submit, collection, body.documents)
    is_served = False
    if wait:
        job, is_served = await wait_for_job(services, writers, collection, job, config.wait_limit_s)
    return json_response({"job": job_body(job)}, 200 if is_served else 202)


@router.post("/import", status_code=202)
async def import_file(
    name: str,
    request: Request,
    services: ServicesDep,
    writers: WritersDep,
    file: Annotated[UploadFile, File(description=".csv .tsv .jsonl .json .parquet, also .gz .zst")],
    id_field: ColumnName = None,
    text_field: ColumnName = None,
    title_field: ColumnName = None,
    metadata_fields: Annotated[str | None, Form(description="Column names, separated by commas.")] = None,
) -> Response:
    unknown = sorted(set(await request.form()) - FORM_FIELDS)
    if unknown:
        raise InvalidInput(
            f"Unknown form field {unknown[0][:80]!r}; known are {', '.join(sorted(FORM_FIELDS))}."
        )
    columns = tuple(field.strip() for field in metadata_fields.split(",")) if metadata_fields else None
    fields = ImportFields(id_field, text_field, title_field, columns)
    job = await writers.run(_start_import, services, name, file, fields)
    return json_response({"job": job_body(job)}, 202)


def _start_import(services: Services, name: str, file: UploadFile, fields: ImportFields) -> Job:
    collection = services.collections.open(name)
    filename = Path(file.filename or "").name
    if not filename:
        raise InvalidInput("The uploaded file has no name; its ending tells the format.")
    with _stored(file, services.uploads) as path:
        return services.imports.start(collection, path, filename, fields)


@contextmanager
def _stored(file: UploadFile, folder: Path) -> Iterator[Path]:
    """A copy of the upload in the data folder; removed again when the import cannot start."""
    path = folder / uuid.uuid4().hex
    try:
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target, 1024 * 1024)
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@router.get("/documents")
def list_documents(
    name: str,
    services: ServicesDep,
    state: DocumentState | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    after: str | None = None,
) -> Response:
    if state is DocumentState.DELETED:
        raise InvalidInput("Deleted documents are not kept; state is pending, searchable or failed.")
    collection = services.collections.open(name)
    documents = services.documents.list(collection.id, state, limit, after)
    following = documents[-1].external_id if len(documents) == limit else None
    return json_response({"documents": [document_body(d) for d in documents], "next": following})


@router.get("/documents/{document_id:any}")
def get_document(name: str, document_id: str, services: ServicesDep) -> Response:
    collection = services.collections.open(name)
    return json_response(document_body(services.documents.get(collection.id, document_id)))


@router.delete("/documents/{document_id:any}", status_code=200)
async def delete_document(
    name: str, document_id: str, services: ServicesDep, writers: WritersDep
) -> Response:
    collection = await writers.run(services.collections.open, name)
    await writers.run(services.documents.get, collection.id, document_id)
    deleted, seq = await writers.run(services.ingest.delete, collection, [document_id])
    return json_response({"deleted": deleted, "seq": seq})


@router.post("/documents/delete")
async def delete_documents(
    name: str, body: DeleteBody, services: ServicesDep, writers: WritersDep
) -> Response:
    collection = await writers.run(services.collections.open, name)
    deleted, seq = await writers.run(services.ingest.delete, collection, body.ids)
    return json_response({"deleted": deleted, "seq": seq})
