"""Route of zero-shot classification."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import classification_body, json_response
from api.bodies import ClassifyBody
from api.deps import ServicesDep
from api.json_body import StrictRoute

router = APIRouter(prefix="/v1", tags=["classify"], route_class=StrictRoute)


@router.post("/classify")
def classify(body: ClassifyBody, services: ServicesDep) -> Response:
    results = services.classify.classify(body.texts, body.typed_labels())
    return json_response({"results": [classification_body(result) for result in results]})
