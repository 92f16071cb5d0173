"""What a trained head says of vectors: numpy alone, on the path of a request.

Shapes: n vectors, c labels, d dimensions, m landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from classifier.neighbours import neighbour_logits
from classifier.zero_shot import softmax
from core.classifier_types import Abstention, Bools, Head, HeadKind, HeadScores
from core.types import Float32

ROWS = 8192


def score(head: Head, vectors: Float32) -> HeadScores:
    """Logits, calibrated probabilities, chosen labels and abstentions of `vectors` (n, d)."""
    logits = head_logits(head, vectors)
    probabilities = calibrated(head.parameters["calibration"], head.arrays, logits, head.is_multi)
    is_chosen = choose(probabilities, head.arrays.get("thresholds"))
    is_unsure = confidences(probabilities, is_chosen) < np.float32(head.parameters["abstain_below"])
    is_outside = outside(head, vectors, probabilities)
    return HeadScores(logits, probabilities, is_chosen, _abstentions(is_unsure, is_outside))


def head_logits(head: Head, vectors: Float32) -> Float32:
    """(n, c) logits before calibration."""
    if head.kind is HeadKind.NEIGHBOURS:
        arrays = head.arrays
        return neighbour_logits(vectors, arrays["examples"], arrays["truth"], head.parameters["neighbours"])
    return np.asarray(vectors @ head.arrays["weights"] + head.arrays["bias"], dtype=np.float32)


def calibrated(
    calibration: Mapping[str, Any], arrays: Mapping[str, Any], logits: Float32, is_multi: bool
) -> Float32:
    """(n, c) probabilities of `logits`; rows add up to 1 unless `is_multi`."""
    scaled = np.asarray(logits * calibration["scale"] + calibration["offset"], dtype=np.float32)
    probabilities = sigmoid(scaled) if is_multi else softmax(scaled)
    if calibration["method"] == "isotonic":
        return through_steps(probabilities, arrays["isotonic_x"], arrays["isotonic_y"], is_multi)
    return probabilities


def through_steps(probabilities: Float32, x: Float32, y: Float32, is_multi: bool) -> Float32:
    """`probabilities` mapped by the line through the points (x, y); rows of one label add up to 1 again."""
    mapped = np.interp(probabilities, x, y).astype(np.float32)
    return mapped if is_multi else mapped / mapped.sum(axis=1, keepdims=True)


def sigmoid(logits: Float32) -> Float32:
    """1 / (1 + e^-z), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def choose(probabilities: Float32, thresholds: Float32 | None) -> Bools:
    """(n, c): the most probable label, or with `thresholds` (c,) all at or above theirs."""
    if thresholds is not None:
        return np.asarray(probabilities >= thresholds)
    return np.asarray(probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1]))


def confidences(probabilities: Float32, is_chosen: Bools) -> Float32:
    """(n,) mean probability of the chosen labels: the precision to be expected; 1 where none is chosen."""
    count = is_chosen.sum(axis=1)
    total = np.where(is_chosen, probabilities, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), 1.0).astype(np.float32)


def outside(head: Head, vectors: Float32, probabilities: Float32) -> Bools:
    """(n,) whether a vector is unlike all that the head was trained on; see classifier.abstaining."""
    scope = head.parameters.get("scope")
    if scope is None:
        return np.zeros(len(vectors), np.bool_)
    similarity = nearest_similarity(vectors, head.arrays["landmarks"])
    return is_outside(scope, similarity, probabilities.max(axis=1))


def is_outside(scope: Mapping[str, Any], similarity: Float32, best: Float32) -> Bools:
    """From the similarity (n,) to the nearest landmark and the highest probability (n,)."""
    is_far = similarity < scope["far"]
    is_doubtful = (similarity < scope["doubtful"]) & (best < scope["unsure"])
    return np.asarray(is_far | is_doubtful)


def nearest_similarity(vectors: Float32, landmarks: Float32) -> Float32:
    """(n,) the greatest cosine of each vector to `landmarks` (m, d)."""
    if len(vectors) <= ROWS:
        return np.asarray((vectors @ landmarks.T).max(axis=1))
    blocks = (vectors[i : i + ROWS] for i in range(0, len(vectors), ROWS))
    return np.concatenate([(block @ landmarks.T).max(axis=1) for block in blocks])


def _abstentions(is_unsure: Bools, is_outside: Bools) -> tuple[Abstention | None, ...]:
    if not is_unsure.any() and not is_outside.any():
        return (None,) * len(is_unsure)
    return tuple(
        Abstention.OUT_OF_SCOPE if far else Abstention.LOW_CONFIDENCE if unsure else None
        for far, unsure in zip(is_outside.tolist(), is_unsure.tolist(), strict=True)
    )
