"""Topics as the JSON of the contract."""

from __future__ import annotations

from typing import Any

from core.generation_types import VectorReaderInfo
from core.topic_types import Place, Topic, TopicMap


def topics_body(collection: str, found: TopicMap, took_s: float) -> dict[str, Any]:
    return {
        "collection": collection,
        "seq": found.seq,
        "documents": found.documents,
        "documents_read": found.read,
        "topics": [{"id": id_, **_topic_body(topic)} for id_, topic in enumerate(found.topics)],
        "points": [
            {"id": point.id, "title": point.title, "topic": point.topic, **_place_body(point.place)}
            for point in found.points
        ],
        "took_ms": round(took_s * 1000, 1),
    }


def vector_reader_body(info: VectorReaderInfo) -> dict[str, Any]:
    """As a model of the OpenAI dialect."""
    return {
        "id": info.id,
        "object": "model",
        "created": 0,
        "owned_by": "cognate",
        "kind": "vector-reader",
        "standing": "experimental",
        "fingerprint": info.fingerprint,
        "encoder_fingerprint": info.encoder_fingerprint,
        "max_new_tokens": info.max_new_tokens,
        "held_out_loss": info.held_out_loss,
        "shuffled_loss": info.shuffled_loss,
        "similarity": info.similarity,
    }


def _topic_body(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.name.text,
        "name_kind": topic.name.kind,
        "name_similarity": None if topic.name.similarity is None else round(topic.name.similarity, 4),
        "size": topic.size,
        "similarity": round(topic.similarity, 4),
        "terms": [{"text": term.text, "weight": round(term.weight, 6)} for term in topic.terms],
        "documents": [
            {"id": one.id, "title": one.title, "text": one.text, "similarity": round(one.similarity, 4)}
            for one in topic.documents
        ],
        **_place_body(topic.place),
    }


def _place_body(place: Place) -> dict[str, float]:
    return {"x": round(place.x, 4), "y": round(place.y, 4)}
