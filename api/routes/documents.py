"""Routes of documents: add, import a file, read, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from api.answer_shapes import ACCEPTED, AcceptedAnswer, DeletedAnswer, DocumentAnswer, DocumentsAnswer
from api.answers import document_body, job_body, json_response
from api.bodies import DeleteBody, DocumentsBody
from api.deps import ConfigDep, JobFeedDep, ReadersDep, RequestIdDep, ServicesDep, WritersDep
from api.json_body import StrictRoute
from api.uploads import stored_form
from api.waiting import wait_for_job
from core.collections import in_use
from core.document_pages import is_full
from core.errors import InvalidInput, TooLarge
from core.filters import parse_filter
from core.job_types import ImportFields
from core.types import DocumentState


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
MAX_COLUMN_NAME = 500
COLUMN_FIELDS = ("id_field", "text_field", "title_field")
FORM_FIELDS = (*COLUMN_FIELDS, "metadata_fields")
# The form is read while it arrives, so the framework is told what it looks like instead of reading it.
IMPORT_FORM: Mapping[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": ".csv .tsv .jsonl .json .parquet, also .gz .zst",
        },
        **{field: {"type": "string", "maxLength": MAX_COLUMN_NAME} for field in COLUMN_FIELDS},
        "metadata_fields": {"type": "string", "description": "Column names, separated by commas."},
    },
}


@router.post(
    "/documents",
    status_code=202,
    responses={
        200: {"description": "All are searchable (wait).", "model": AcceptedAnswer},
        **ACCEPTED,
    },
)
async def add_documents(
    name: str,
    body: DocumentsBody,
    services: ServicesDep,
    config: ConfigDep,
    writers: WritersDep,
    feed: JobFeedDep,
    request_id: RequestIdDep,
    wait: bool = False,
) -> Response:
    if len(body.documents) > config.max_documents:
        raise TooLarge(
            f"{len(body.documents):,} documents were sent; {config.max_documents:,} fit in a call."
        )
    collection = await writers.run(services.collections.open, name)
    job = await writers.run(services.ingest.submit, collection, body.documents, request_id)
    is_served = False
    if wait:
        job, is_served = await wait_for_job(services, feed, collection, job, config.wait_limit_s)
    return json_response({"job": job_body(job)}, 200 if is_served else 202)


@router.post(
    "/import",
    status_code=202,
    responses=ACCEPTED,
    openapi_extra={
        "requestBody": {"content": {"multipart/form-data": {"schema": IMPORT_FORM}}, "required": True}
    },
)
async def import_file(
    name: str, request: Request, services: ServicesDep, writers: WritersDep, request_id: RequestIdDep
) -> Response:
    collection = await writers.run(services.collections.open, name)
    async with stored_form(request, FORM_FIELDS, services.uploads, writers) as form:
        fields = _import_fields(form.fields)
        with in_use(collection):
            job = await writers.run(
                services.imports.start, collection, form.name, form.filename, fields, request_id
            )
    return json_response({"job": job_body(job)}, 202)


def _import_fields(sent: Mapping[str, str]) -> ImportFields:
    for field in COLUMN_FIELDS:
        if len(sent.get(field, "")) > MAX_COLUMN_NAME:
            raise InvalidInput(
                f"{field} is longer than {MAX_COLUMN_NAME} characters, the limit of column names."
            )
    listed = sent.get("metadata_fields")
    columns = tuple(field.strip() for field in listed.split(",") if field.strip()) if listed else None
    id_field, text_field, title_field = (sent.get(field) or None for field in COLUMN_FIELDS)
    return ImportFields(id_field, text_field, title_field, columns)


@router.get("/documents", responses={200: {"model": DocumentsAnswer}})
async def list_documents(
    name: str,
    services: ServicesDep,
    readers: ReadersDep,
    state: DocumentState | None = None,
    update_pending: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    after: str | None = None,
) -> Response:
    if state is DocumentState.DELETED:
        raise InvalidInput("Deleted documents are not kept; state is pending, searchable or failed.")

    def listed() -> Response:
        collection = services.collections.open(name)
        documents = services.documents.list(collection.id, state, limit, after, update_pending)
        following = documents[-1].external_id if is_full(documents, limit) else None
        return json_response({"documents": [document_body(d) for d in documents], "next": following})

    return await readers.run(listed)


@router.get("/documents/{document_id:any}", responses={200: {"model": DocumentAnswer}})
async def get_document(name: str, document_id: str, services: ServicesDep, readers: ReadersDep) -> Response:
    collection = await readers.run(services.collections.open, name)
    document = await readers.run(services.documents.get, collection.id, document_id)
    return json_response(document_body(document))


@router.delete("/documents/{document_id:any}", responses={200: {"model": DeletedAnswer}})
async def delete_document(
    name: str, document_id: str, services: ServicesDep, writers: WritersDep
) -> Response:
    collection = await writers.run(services.collections.open, name)
    await writers.run(services.documents.get, collection.id, document_id)
    deleted, seq = await writers.run(services.ingest.delete, collection, [document_id])
    return json_response({"deleted": deleted, "seq": seq})


@router.post("/documents/delete", responses={200: {"model": DeletedAnswer}})
async def delete_documents(
    name: str, body: DeleteBody, services: ServicesDep, writers: WritersDep
) -> Response:
    filter_ = None if body.filter is None else await writers.run(parse_filter, body.filter)
    collection = await writers.run(services.collections.open, name)
    if filter_ is None:
        deleted, seq = await writers.run(services.ingest.delete, collection, body.ids or [])
    else:
        deleted, seq = await writers.run(services.deletion.delete_matching, collection, filter_)
    return json_response({"deleted": deleted, "seq": seq})
