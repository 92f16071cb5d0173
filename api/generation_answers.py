"""Explanations, rewrites and the generator as the JSON of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from api.answers import contribution_body, span_body
from core.explain_label import ExplainedLabel
from core.generation_types import GeneratorInfo
from core.reasons import Reason
from core.rewrite import DroppedCandidate, Rewrite, Rewritten


def reason_body(reason: Reason) -> dict[str, Any]:
    """`kind` says whether the sentence was generated or extracted; an extracted one stands at `span`."""
    body: dict[str, Any] = {"text": reason.text, "kind": reason.kind, "verification": reason.outcome}
    if reason.span is not None:
        body["span"] = span_body(reason.span)
    if reason.similarity is not None:
        body["similarity"] = reason.similarity
    if reason.refused:
        body["refused"] = reason.refused
    return body


def explained_label_body(explained: ExplainedLabel) -> dict[str, Any]:
    """Contributions and `bias` add up to `score`; where there are none, `note` says why."""
    body: dict[str, Any] = {
        "label": explained.label,
        "probability": explained.probability,
        "score": explained.score,
        "bias": explained.bias,
        "tokens": [contribution_body(token) for token in explained.tokens],
        "query_tokens": [contribution_body(token) for token in explained.query_tokens],
    }
    return body | {"note": explained.note} if explained.note else body


def rewritten_body(rewritten: Rewritten) -> dict[str, Any]:
    return {
        "rewrites": [rewrite_body(rewrite) for rewrite in rewritten.rewrites],
        "dropped": [_dropped_body(candidate) for candidate in rewritten.dropped],
    }


def rewrite_body(rewrite: Rewrite) -> dict[str, Any]:
    body: dict[str, Any] = {"text": rewrite.text, "similarity": rewrite.similarity, "score": rewrite.score}
    if rewrite.unverified:
        body["unverified_names"] = list(rewrite.unverified)
    return body


def _dropped_body(candidate: DroppedCandidate) -> dict[str, Any]:
    return {
        "text": candidate.text,
        "similarity": candidate.similarity,
        "reason": candidate.drop.reason,
        "detail": candidate.drop.detail,
    }


def generator_body(info: GeneratorInfo) -> dict[str, Any]:
    """As /v1/models lists it: each task with its standing, what was measured beside what is required."""
    return {
        "id": info.id,
        "object": "model",
        "created": 0,
        "owned_by": "cognate",
        "kind": "generator",
        "fingerprint": info.fingerprint,
        "encoder_fingerprint": info.encoder_fingerprint,
        "max_tokens": info.max_source_tokens,
        "max_new_tokens": info.max_new_tokens,
        "tasks": {
            one.task.value: {
                "standing": "stable" if one.is_stable else "experimental",
                "measure": one.measure,
                "value": one.value,
                "required": one.required,
            }
            for one in info.tasks
        },
    }


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))
