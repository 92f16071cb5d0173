"""The route that tells what a collection is about."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response

from api.answers import json_response
from api.deps import ServicesDep
from api.json_body import StrictRoute
from api.topic_answers import topics_body
from core.topic_types import TopicRequest

router = APIRouter(prefix="/v1/collections/{name}/topics", tags=["topics"], route_class=StrictRoute)

DEFAULT = TopicRequest()


@router.get("")
def get_topics(
    name: str,
    services: ServicesDep,
    k: int | None = None,
    terms: int = DEFAULT.terms,
    documents: int = DEFAULT.documents,
    points: int = DEFAULT.points,
) -> Response:
    started_s = time.perf_counter()
    found = services.topics.topics(name, TopicRequest(k, terms, documents, points))
    return json_response(topics_body(name, found, time.perf_counter() - started_s))
