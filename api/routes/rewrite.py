"""Route of rewrites: generated, verified, as many as are good."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import json_response
from api.deps import ServicesDep
from api.generation_answers import rewritten_body
from api.generation_bodies import RewriteBody
from api.json_body import StrictRoute
from api.rewrite_events import rewrite_events
from core.generation_types import FinishReason
from core.rewrite import Rewritten

router = APIRouter(prefix="/v1", tags=["rewrite"], route_class=StrictRoute)


@router.post(
    "/rewrite",
    response_class=Response,
    responses={200: {"content": {"application/json": {}, "text/event-stream": {}}}},
)
def rewrite(body: RewriteBody, services: ServicesDep) -> Response:
    # On the threads of plain routes, of which few can wait here: the queue of generations is bounded.
    if body.stream:
        (text,) = body.texts

        def verify(written: str, finish: FinishReason | None) -> Rewritten:
            return services.rewrite.verify(text, body.task, written, finish)

        return rewrite_events(services.rewrite.stream(text, body.task), verify)
    results = services.rewrite.rewrite(body.texts, body.task, body.n)
    return json_response({"task": body.task, "results": [rewritten_body(result) for result in results]})
