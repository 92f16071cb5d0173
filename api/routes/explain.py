"""Route of explanations: why a query and a text are as near as they are."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import explained_body, json_response
from api.bodies import ExplainBody
from api.deps import ServicesDep
from api.json_body import StrictRoute
from core.types import PassageText

router = APIRouter(prefix="/v1", tags=["explain"], route_class=StrictRoute)


@router.post("/explain")
def explain(body: ExplainBody, services: ServicesDep) -> Response:
    if body.text is not None:
        explained = services.explain.explain_text(body.query, PassageText(body.title, body.text))
    else:
        collection = services.collections.open(body.collection or "")
        explained = services.explain.explain_document(body.query, collection, body.id or "")
    return json_response(explained_body(explained, body.matrix))
