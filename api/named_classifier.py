"""Predictions of a named classifier for the dialects: which one is meant, raw scores, texts cut short."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from api.config import ApiConfig
from core.classifier_types import Prediction, Predictions
from core.errors import InvalidInput, TooLarge
from core.label_types import Classification
from core.services import Services

LEAST_PROBABILITY = 1e-9  # so that its logarithm is a number
MAX_NAMED = 20


def chosen_classifier(services: Services, config: ApiConfig, given: str | None) -> str:
    """The name that is given, that of the settings, or that of the only one. Raises InvalidInput."""
    if given is not None or config.default_classifier:
        return given or config.default_classifier
    names = [classifier.name for classifier in services.classifiers.list()]
    if len(names) == 1:
        return names[0]
    listed = ", ".join(names[:MAX_NAMED]) or "none"
    raise InvalidInput(
        f"Which classifier? Name one as model, or set COGNATE_DEFAULT_CLASSIFIER; there are: {listed}."
    )


def refuse_cut(results: Sequence[Prediction | Classification], services: Services, how: str) -> None:
    """Raises TooLarge when a text was longer than the encoder reads; `how` tells how to allow it."""
    cut = [i for i, one in enumerate(results) if one.is_truncated]
    if cut:
        raise TooLarge(
            f"Input {cut[0]} is longer than the {services.encoder.info.max_tokens} tokens that the encoder"
            f" reads, special ones included. Shorten it, or send {how}."
        )


def is_multi(services: Services, predictions: Predictions) -> bool:
    """Whether the version that predicted gives several labels."""
    versions = services.classifiers.versions(predictions.classifier)
    return any(one.is_multi for one in versions if one.number == predictions.version)


def raw_scores(scores: Mapping[str, float], is_multi: bool) -> dict[str, float]:
    """Calibrated logits: log p, whose softmax gives p back, or with several labels log(p / (1 - p))."""
    found: dict[str, float] = {}
    for label, score in scores.items():
        p = min(max(score, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
        found[label] = math.log(p / (1 - p)) if is_multi else math.log(p)
    return found
