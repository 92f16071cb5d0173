"""Route of classification: by the contract (zero-shot, or a trained classifier), and as Cohere speaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import Discriminator, Tag

from api.answers import classification_body, json_response
from api.classifier_answers import predictions_body
from api.classify_bodies import ClassifyBody
from api.cohere_classify import CohereClassifyBody, few_shot_body, named_body
from api.deps import ServicesDep
from api.dialects import BODY_TAGS, COHERE, ERROR_SHAPE
from api.json_body import StrictRequest, StrictRoute
from api.named_classifier import is_multi, refuse_cut
from core.classifier_types import Prediction
from core.errors import InvalidInput, NotFound
from core.label_types import Classification
from core.services import Services

CONTRACT: Final = BODY_TAGS[0]
COHERES: Final = BODY_TAGS[1]


def _dialect_of(body: Any) -> str:
    """Only Cohere's bodies have `inputs`."""
    is_coheres = isinstance(body, CohereClassifyBody) or (isinstance(body, dict) and "inputs" in body)
    return COHERES if is_coheres else CONTRACT


class _ToldApart(StrictRequest):
    """Notes the dialect of its body, so that errors have its shape."""

    async def json(self) -> Any:
        body = await super().json()
        if _dialect_of(body) == COHERES:
            self.scope.setdefault("state", {})[ERROR_SHAPE] = COHERE
        return body


class _Route(StrictRoute):
    request_class = _ToldApart


router = APIRouter(prefix="/v1", tags=["classify"], route_class=_Route)
EitherBody = Annotated[
    Annotated[ClassifyBody, Tag(CONTRACT)] | Annotated[CohereClassifyBody, Tag(COHERES)],
    Discriminator(_dialect_of),
]


@router.post("/classify")
def classify(body: EitherBody, services: ServicesDep) -> Response:
    # On the many threads of plain routes: texts of calls that wait together are encoded together.
    if isinstance(body, CohereClassifyBody):
        return _as_cohere(body, services)
    return _by_labels(body, services) if body.classifier is None else _by_classifier(body, services)


def _by_labels(body: ClassifyBody, services: Services) -> Response:
    labels, options = body.typed_labels(), body.options()
    results = services.classify.classify(body.texts, labels, options)
    answer: dict[str, Any] = {"results": [classification_body(result) for result in results]}
    if note := services.classify.note(len(body.texts), len(labels), options):
        answer["note"] = note
    return json_response(answer)


def _by_classifier(body: ClassifyBody, services: Services) -> Response:
    assert body.classifier is not None  # the body holds either labels or a classifier
    found = services.classifiers.classify(body.classifier, body.texts, body.evidence, body.version)
    return json_response(predictions_body(found))


def _as_cohere(body: CohereClassifyBody, services: Services) -> Response:
    body.check()
    answer = _by_model(body, services) if body.examples is None else _by_examples(body, services)
    return json_response(answer)


def _by_examples(body: CohereClassifyBody, services: Services) -> dict[str, Any]:
    model = services.encoder.info.id
    if body.model not in (None, model):
        raise NotFound(
            f"The model {str(body.model)[:200]!r} cannot learn from the examples of a call; leave model out,"
            f" or send {model!r}."
        )
    results = services.few_shot.classify(body.inputs, body.labels())
    _refuse_cut(body, results, services)
    return few_shot_body(body.inputs, results)


def _by_model(body: CohereClassifyBody, services: Services) -> dict[str, Any]:
    if body.model is None:
        raise InvalidInput("Send examples, or the name of a trained classifier as model.")
    found = services.classifiers.classify(body.model, body.inputs)
    _refuse_cut(body, found.predictions, services)
    return named_body(body.inputs, found.predictions, is_multi(services, found))


def _refuse_cut(
    body: CohereClassifyBody, results: Sequence[Prediction | Classification], services: Services
) -> None:
    if body.truncate == "NONE":
        refuse_cut(results, services, '"truncate": "END"')
