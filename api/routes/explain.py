"""Route of explanations: why a query and a text are near, or why a text has its label."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.answers import component_scores_body, explained_body, json_response
from api.deps import ServicesDep
from api.generation_answers import explained_label_body, reason_body
from api.generation_bodies import ExplainBody
from api.json_body import StrictRoute
from core.explain_label import ExplainedLabel
from core.services import Services
from core.types import PassageText

router = APIRouter(prefix="/v1", tags=["explain"], route_class=StrictRoute)


@router.post("/explain")
def explain(body: ExplainBody, services: ServicesDep) -> Response:
    if body.query is not None:
        return json_response(_pair(body, body.query, services))
    return json_response(_label(body, services))


def _pair(body: ExplainBody, query: str, services: Services) -> dict[str, Any]:
    """Of a query with a document of a collection or a text."""
    scores = None
    if body.text is not None:
        explained = services.explain.explain_text(query, PassageText(body.title, body.text))
    else:
        collection = services.collections.open(body.collection or "")
        explained = services.explain.explain_document(query, collection, body.id or "")
        scores = services.search.scores_of(collection.name, query, body.id or "")
    tokens = explained.explanation.tokens
    reason = services.reasons.reason(query, explained.passage, tokens, body.generate)
    answer = {**explained_body(explained, body.matrix), "why": reason_body(reason)}
    return answer if scores is None else {**answer, "scores": component_scores_body(scores)}


def _label(body: ExplainBody, services: Services) -> dict[str, Any]:
    explained = _explained_label(body, services)
    passage = PassageText("", explained.text)
    reason = services.reasons.reason(explained.query, passage, explained.tokens, body.generate)
    return {**explained_label_body(explained), "why": reason_body(reason)}


def _explained_label(body: ExplainBody, services: Services) -> ExplainedLabel:
    text = body.text or ""
    if body.classifier is not None:
        return services.explain_label.by_classifier(text, body.classifier)
    return services.explain_label.by_labels(text, body.typed_labels(), body.label)
