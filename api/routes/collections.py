"""Routes of collections."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answer_shapes import CollectionAnswer, CollectionsAnswer
from api.answers import collection_body, json_response
from api.bodies import ChangeBody, CollectionBody
from api.deps import AdminsDep, ReadersDep, ServicesDep
from api.json_body import StrictRoute
from core.services import Services

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=StrictRoute)


@router.put(
    "/{name}",
    status_code=201,
    responses={
        200: {"description": "It existed with these settings.", "model": CollectionAnswer},
        201: {"model": CollectionAnswer},
    },
)
async def create_collection(
    name: str, services: ServicesDep, admins: AdminsDep, body: CollectionBody | None = None
) -> Response:
    return await admins.run(_created, services, name, body or CollectionBody())


def _created(services: Services, name: str, body: CollectionBody) -> Response:
    collection, is_new = services.collections.create(name, body.description, body.encoder, body.settings())
    overview = services.collections.overview(collection)  # by its row: it may be deleted by now
    return json_response(collection_body(overview), 201 if is_new else 200)


@router.get("", responses={200: {"model": CollectionsAnswer}})
async def list_collections(services: ServicesDep, readers: ReadersDep) -> Response:
    return await readers.run(_listed, services)


def _listed(services: Services) -> Response:
    return json_response({"collections": [collection_body(item) for item in services.collections.list()]})


@router.get("/{name}", responses={200: {"model": CollectionAnswer}})
async def get_collection(name: str, services: ServicesDep, readers: ReadersDep) -> Response:
    return json_response(collection_body(await readers.run(services.collections.describe, name)))


@router.patch("/{name}", responses={200: {"model": CollectionAnswer}})
async def change_collection(
    name: str, body: ChangeBody, services: ServicesDep, admins: AdminsDep
) -> Response:
    await admins.run(services.defaults.change, name, body.description, body.defaults())
    return json_response(collection_body(await admins.run(services.collections.describe, name)))


@router.delete("/{name}", status_code=204)
async def delete_collection(name: str, services: ServicesDep, admins: AdminsDep) -> Response:
    await admins.run(services.collections.delete, name)
    return Response(status_code=204)
