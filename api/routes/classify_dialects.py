"""A named classifier in the dialects of text-embeddings-inference (`/predict`) and vLLM (`/classify`)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, field_validator

from api.answers import json_response
from api.bodies import Body, Items
from api.config import ApiConfig
from api.deps import ConfigDep, ServicesDep
from api.dialect_texts import CutSide, check_count, check_named, named
from api.json_body import StrictRoute
from api.named_classifier import chosen_classifier, is_multi, raw_scores, refuse_cut
from core.classifier_types import Predictions
from core.errors import InvalidInput
from core.services import Services

router = APIRouter(tags=["classification dialects"], route_class=StrictRoute)


class PredictBody(Body):
    """As at text-embeddings-inference: `"text"` or `["text"]` is one text, `[["text"], …]` are many."""

    inputs: str | Items[str] | Items[Items[str]]
    raw_scores: bool = Field(default=False, description="Logits instead of probabilities.")
    truncate: bool | None = Field(default=False, description="Read the start of texts that are too long.")
    truncation_direction: CutSide = "Right"
    model: str | None = Field(default=None, description="Name of the classifier; an addition of ours.")

    @field_validator("inputs", mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        """Counted before they are read. Raises InvalidInput."""
        if isinstance(value, list):
            check_count("inputs", len(value))
        return value

    @property
    def is_batch(self) -> bool:
        return isinstance(self.inputs, list) and bool(self.inputs) and isinstance(self.inputs[0], list)

    def texts(self) -> list[str]:
        """Raises InvalidInput for a pair of texts, which no classifier here reads."""
        if isinstance(self.inputs, str):
            return [self.inputs]
        strings = [item for item in self.inputs if isinstance(item, str)]
        if strings or not self.inputs:
            return [_single(strings)]
        return [_single(item) for item in self.inputs if not isinstance(item, str)]

    def named(self, texts: Sequence[str]) -> dict[str, str]:
        """`texts` by their places in the body."""
        if isinstance(self.inputs, str):
            return named("inputs", self.inputs)
        return named("inputs", texts, "[0]" if self.is_batch else "")


def _single(item: Sequence[str]) -> str:
    if len(item) != 1:
        raise InvalidInput(
            "A list of strings is one input, a text or a pair of texts, and classifiers read one text each:"
            ' send "text" for one, [["first"], ["second"]] for many.'
        )
    return item[0]


@router.post("/predict")
def predict(body: PredictBody, services: ServicesDep, config: ConfigDep) -> Response:
    texts = body.texts()
    check_named(body.named(texts))
    rows = _predict(body, texts, services, config)
    return json_response(rows if body.is_batch else rows[0])


def _predict(
    body: PredictBody, texts: Sequence[str], services: Services, config: ApiConfig
) -> list[list[dict[str, Any]]]:
    """For each text all labels, the most probable first."""
    found = services.classifiers.classify(chosen_classifier(services, config, body.model), texts)
    if not body.truncate:
        refuse_cut(found.predictions, services, '"truncate": true')
    rows = [
        sorted(scores.items(), key=lambda one: -one[1])
        for scores in _scores(services, found, body.raw_scores)
    ]
    return [[{"score": score, "label": label} for label, score in row] for row in rows]


class VllmClassifyBody(Body):
    model: str | None = Field(default=None, description="Name of the classifier.")
    input: str | Items[str]
    use_activation: bool = Field(default=True, description="Probabilities; false gives logits.")
    truncate_prompt_tokens: Literal[-1] | None = Field(
        default=None, description="-1 reads the start of texts that are too long."
    )
    user: str | None = Field(default=None, description="Ignored.")
    priority: int = Field(default=0, description="Ignored.")


@router.post("/classify")
def classify_vllm(body: VllmClassifyBody, services: ServicesDep, config: ConfigDep) -> Response:
    check_named(named("input", body.input))
    texts = [body.input] if isinstance(body.input, str) else body.input
    return json_response(_vllm_answer(body, texts, services, config))


def _vllm_answer(
    body: VllmClassifyBody, texts: Sequence[str], services: Services, config: ApiConfig
) -> dict[str, Any]:
    found = services.classifiers.classify(chosen_classifier(services, config, body.model), texts)
    if body.truncate_prompt_tokens is None:
        refuse_cut(found.predictions, services, '"truncate_prompt_tokens": -1')
    scores = _scores(services, found, not body.use_activation)
    tokens = _tokens(services, texts)
    return {
        "id": f"classify-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": found.classifier,
        "data": [
            {"index": i, "label": one.label, "probs": list(row.values()), "num_classes": len(row)}
            for i, (one, row) in enumerate(zip(found.predictions, scores, strict=True))
        ],
        "usage": {
            "prompt_tokens": tokens,
            "total_tokens": tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }


def _scores(services: Services, found: Predictions, is_raw: bool) -> list[dict[str, float]]:
    if not is_raw:
        return [dict(one.scores) for one in found.predictions]
    several = is_multi(services, found)
    return [raw_scores(one.scores, several) for one in found.predictions]


def _tokens(services: Services, texts: Sequence[str]) -> int:
    """How many were read, special ones included."""
    encoder = services.embed.encoder
    return sum(min(len(ids), encoder.info.max_tokens) for ids in encoder.tokenize(texts))
