"""Cohere's classification: its body and its answer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from api.bodies import Body, Items
from api.dialect_texts import check_named, named
from core.classifier_types import Prediction
from core.classify import ClassifyLimits
from core.errors import InvalidInput
from core.label_types import Classification, Label

MAX_NAMED = 20  # inputs in a warning


class CohereExampleBody(Body):
    text: str
    label: str


class CohereClassifyBody(Body):
    """Either examples, or as `model` the name of a trained classifier."""

    inputs: Items[str] = Field(max_length=ClassifyLimits().max_texts)
    examples: Items[CohereExampleBody] | None = Field(default=None, max_length=ClassifyLimits().max_examples)
    model: str | None = Field(default=None, description="A trained classifier; beside examples, the encoder.")
    preset: None = Field(default=None, description="There are none.")
    truncate: Literal["NONE", "END"] | None = Field(
        default=None, description="NONE refuses inputs longer than the encoder reads; END reads their start."
    )

    def check(self) -> None:
        """Raises InvalidInput for a text or label that says nothing or is too long."""
        check_named(named("inputs", self.inputs))
        for i, one in enumerate(self.examples or ()):
            check_named({f"examples[{i}].text": one.text, f"examples[{i}].label": one.label})

    def labels(self) -> list[Label]:
        """In the order in which the examples bring them. Raises InvalidInput for a single one."""
        texts: dict[str, list[str]] = {}
        for one in self.examples or ():
            texts.setdefault(one.label, []).append(one.text)
        if len(texts) == 1:
            (label,) = texts
            raise InvalidInput(f"examples have only the label {label[:100]!r}; send examples of two or more.")
        return [Label(label, examples=tuple(of_label)) for label, of_label in texts.items()]


def few_shot_body(inputs: Sequence[str], results: Sequence[Classification]) -> dict[str, Any]:
    items = [
        _item(text, (one.label,), one.scores, is_multi=False)
        for text, one in zip(inputs, results, strict=True)
    ]
    return _answer(items, [one.is_truncated for one in results])


def named_body(inputs: Sequence[str], predictions: Sequence[Prediction], is_multi: bool) -> dict[str, Any]:
    items = [
        _item(text, one.labels if is_multi else (one.label,), one.scores, is_multi)
        for text, one in zip(inputs, predictions, strict=True)
    ]
    return _answer(items, [one.is_truncated for one in predictions])


def _item(text: str, labels: Sequence[str], scores: Any, is_multi: bool) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "input": text,
        "prediction": None if is_multi else labels[0],
        "predictions": list(labels),
        "confidence": None if is_multi else scores[labels[0]],
        "confidences": [scores[label] for label in labels],
        "labels": {label: {"confidence": score} for label, score in scores.items()},
        "classification_type": "multi-label" if is_multi else "single-label",
    }


def _answer(items: list[dict[str, Any]], is_cut: Sequence[bool]) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "api_version": {"version": "1"},
        "billed_units": {"classifications": len(items)},
    }
    if cut := [i for i, one in enumerate(is_cut) if one]:
        named = ", ".join(map(str, cut[:MAX_NAMED])) + (", …" if len(cut) > MAX_NAMED else "")
        meta["warnings"] = [f"Only the start was read of {len(cut)} inputs: {named}."]
    return {"id": str(uuid.uuid4()), "classifications": items, "meta": meta}
