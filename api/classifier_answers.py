"""Trained classifiers and what they predict, as the JSON of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from api.answers import job_body
from core.classifier_types import (
    Classifier,
    ClassifierVersion,
    Evidence,
    ExampleChanges,
    Feedback,
    LabelingRule,
    Neighbour,
    Prediction,
    Predictions,
    StoredExample,
    Suggestion,
)
from core.types import EncoderInfo


def classifier_body(classifier: Classifier) -> dict[str, Any]:
    source = classifier.source
    return {
        "name": classifier.name,
        "encoder": _encoder_body(classifier.encoder),
        "options": asdict(classifier.options),
        "from_collection": None if source is None else asdict(source),
        "active_version": classifier.active,
        "examples": classifier.examples,
        "job": classifier.job_id,
        "created_at": classifier.created_at,
        "updated_at": classifier.updated_at,
    }


def described_classifier_body(
    classifier: Classifier, versions: Sequence[ClassifierVersion]
) -> dict[str, Any]:
    """With its versions, newest first, and the labels of the one that serves and of the descriptions."""
    active = next((version for version in versions if version.number == classifier.active), None)
    names = dict.fromkeys([*(active.labels if active else ()), *classifier.descriptions])
    labels = [{"name": name, "description": classifier.descriptions.get(name, "")} for name in names]
    return {
        **classifier_body(classifier),
        "labels": labels,
        "versions": [version_body(version) for version in versions],
    }


def version_body(version: ClassifierVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "origin": version.origin,
        "head": version.kind,
        "multi_label": version.is_multi,
        "fine_tuned": version.is_tuned,
        "labels": list(version.labels),
        "encoder": _encoder_body(version.encoder),
        "data_hash": version.data_hash,
        "examples": version.examples,
        "metrics": dict(version.metrics),
        "created_at": version.created_at,
    }


def examples_body(examples: Sequence[StoredExample], limit: int) -> dict[str, Any]:
    """A page; `next` continues, null ends."""
    return {
        "examples": [
            {
                "id": one.id,
                "text": one.text,
                "labels": list(one.labels),
                "updated_at": one.updated_at,
            }
            for one in examples
        ],
        "next": examples[-1].id if len(examples) == limit else None,
    }


def feedback_body(feedback: Feedback) -> dict[str, Any]:
    """`version` serves from now on; without one a training in progress, `job`, takes the changes in."""
    body: dict[str, Any] = {"changes": _changes_body(feedback.changes)}
    if feedback.version is not None:
        body["version"] = version_body(feedback.version)
    if feedback.job is not None:
        body["job"] = job_body(feedback.job)
    return body


def _changes_body(changes: ExampleChanges) -> dict[str, Any]:
    return {
        "added": changes.added,
        "corrected": changes.corrected,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
        "problems": list(changes.problems),
    }


def suggestions_body(suggestions: Sequence[Suggestion]) -> dict[str, Any]:
    return {"suggestions": [asdict(suggestion) for suggestion in suggestions]}


def rules_body(rules: Sequence[LabelingRule]) -> dict[str, Any]:
    return {"rules": [{"classifier": rule.classifier, "write_to": rule.field} for rule in rules]}


def predictions_body(predictions: Predictions) -> dict[str, Any]:
    return {
        "results": [_prediction_body(prediction) for prediction in predictions.predictions],
        "classifier": predictions.classifier,
        "version": predictions.version,
    }


def _prediction_body(prediction: Prediction) -> dict[str, Any]:
    body: dict[str, Any] = {
        "label": prediction.label,
        "labels": list(prediction.labels),
        "score": prediction.score,
        "scores": dict(prediction.scores),
        "abstained": prediction.abstention is not None,
        "truncated": prediction.is_truncated,
    }
    if prediction.abstention is not None:
        body["reason"] = prediction.abstention
    if prediction.evidence is not None:
        body["evidence"] = _evidence_body(prediction.evidence)
    return body


def _evidence_body(evidence: Evidence) -> dict[str, Any]:
    """`bias` and the contributions of `tokens` add up to `logit`, so do those of `words` and `sentences`."""
    return {
        "label": evidence.label,
        "logit": evidence.logit,
        "bias": evidence.bias,
        "tokens": [asdict(token) for token in evidence.tokens],
        "words": [asdict(word) for word in evidence.words],
        "sentences": [asdict(sentence) for sentence in evidence.sentences],
        "others": [asdict(label) for label in evidence.others],
        "neighbours": [_neighbour_body(neighbour) for neighbour in evidence.neighbours],
    }


def _neighbour_body(neighbour: Neighbour) -> dict[str, Any]:
    return {
        "text": neighbour.text,
        "labels": list(neighbour.labels),
        "similarity": neighbour.similarity,
    }


def _encoder_body(encoder: EncoderInfo) -> dict[str, Any]:
    return {"id": encoder.id, "fingerprint": encoder.fingerprint, "dim": encoder.dim}
