"""Routes of collections."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import collection_body, json_response
from api.bodies import ChangeBody, CollectionBody
from api.deps import ReadersDep, ServicesDep
from api.json_body import StrictRoute
from core.services import Services

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=StrictRoute)


@router.put("/{name}", status_code=201, responses={200: {"description": "It existed with these settings."}})
def create_collection(name: str, services: ServicesDep, body: CollectionBody | None = None) -> Response:
    body = body or CollectionBody()
    collection, is_new = services.collections.create(name, body.description, body.encoder, body.settings())
    overview = services.collections.overview(collection)  # by its row: it may be deleted by now
    return json_response(collection_body(overview), 201 if is_new else 200)


@router.get("")
async def list_collections(services: ServicesDep, readers: ReadersDep) -> Response:
    return await readers.run(_listed, services)


def _listed(services: Services) -> Response:
    return json_response({"collections": [collection_body(item) for item in services.collections.list()]})


@router.get("/{name}")
async def get_collection(name: str, services: ServicesDep, readers: ReadersDep) -> Response:
    return json_response(collection_body(await readers.run(services.collections.describe, name)))


@router.patch("/{name}")
def change_collection(name: str, body: ChangeBody, services: ServicesDep) -> Response:
    services.defaults.change(name, body.description, body.defaults())
    return json_response(collection_body(services.collections.describe(name)))


@router.delete("/{name}", status_code=204)
def delete_collection(name: str, services: ServicesDep) -> Response:
    services.collections.delete(name)
    return Response(status_code=204)
