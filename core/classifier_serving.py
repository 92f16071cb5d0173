"""Use case classify with a trained classifier: texts to labels with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.active_heads import ActiveHeads, ServedHead
from core.classifier_types import Evidence, HeadScores, Prediction, Predictions
from core.errors import InvalidInput
from core.evidence import EvidenceService
from core.example_checks import ClassifierLimits, check_one
from core.lengths import truncated
from core.metering import ClassifierMeter
from core.ports.classifiers import Heads
from core.types import Lane, PassageText

BULK_FROM_TEXTS: Final = 32
MAX_EXPLAINED: Final = 100  # texts of a call; each is encoded once more, exactly


@dataclass(frozen=True, slots=True)
class ClassifierServing:
    """Predicts with active or named versions."""

    active: ActiveHeads
    heads: Heads
    evidence: EvidenceService
    limits: ClassifierLimits
    meter: ClassifierMeter

    def classify(
        self, name: str, texts: Sequence[str], evidence: bool = False, number: int | None = None
    ) -> Predictions:
        """One prediction a text, in order; a text longer than the encoder reads is cut and says so.

        Raises NotFound, InvalidInput, Conflict when nothing was trained yet, EncoderMismatch.
        """
        self._check(texts, evidence)
        served = self.active.get(name, number)
        lane = Lane.BULK if len(texts) >= BULK_FROM_TEXTS else Lane.INTERACTIVE
        vectors = served.encoder.encode_passages([PassageText("", text) for text in texts], lane)  # (n, d)
        scores = self.heads.scores(served.head, vectors)
        why = self.evidence.explain(served, list(texts), vectors, scores) if evidence else None
        made = predictions(served, scores, truncated(served.encoder, texts), why)
        abstained = sum(one is not None for one in scores.abstentions)
        self.meter.predicted(len(texts) - abstained, abstained)
        return Predictions(name, served.version.number, made)

    def _check(self, texts: Sequence[str], evidence: bool) -> None:
        if not 1 <= len(texts) <= self.limits.max_texts:
            raise InvalidInput(
                f"{len(texts):,} texts were sent; 1 to {self.limits.max_texts:,} are allowed in a call."
            )
        if evidence and len(texts) > MAX_EXPLAINED:
            raise InvalidInput(
                f"{len(texts):,} texts were sent with evidence; at most {MAX_EXPLAINED} are explained a call."
            )
        for i, text in enumerate(texts):
            check_one(text, f"texts[{i}]", self.limits.max_text_bytes)


def predictions(
    served: ServedHead, scores: HeadScores, are_cut: Sequence[bool], evidence: Sequence[Evidence] | None
) -> tuple[Prediction, ...]:
    """The scores of n texts in words."""
    labels = served.head.labels
    made = []
    for row, probabilities in enumerate(scores.probabilities):
        best = int(probabilities.argmax())
        made.append(
            Prediction(
                label=labels[best],
                labels=tuple(labels[i] for i in scores.is_chosen[row].nonzero()[0]),
                score=float(probabilities[best]),
                scores=dict(zip(labels, probabilities.tolist(), strict=True)),
                abstention=scores.abstentions[row],
                is_truncated=are_cut[row],
                evidence=evidence[row] if evidence is not None else None,
            )
        )
    return tuple(made)
