"""Use case: why a text got its label, as contributions of its tokens to what the label was chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.classifier_types import Evidence, Prediction
from core.classifiers import ClassifierService
from core.classify import ClassifyService
from core.errors import InvalidInput
from core.explain import Contribution, ExplainService
from core.label_types import Classification, Label
from core.token_types import TokenField
from core.types import PassageText

HYPOTHESIS: Final = "The text is about {}."
NOT_AVAILABLE: Final = (
    "Exact contributions are not available: the classifier decides by its nearest examples, or reads by an"
    " encoder whose embedding is no sum over tokens. Classify with evidence for the nearest examples, or"
    " train it with the head logistic or prototypes."
)


@dataclass(frozen=True, slots=True)
class ExplainedLabel:
    """Contributions of `tokens` and `bias` add up to `score`: a logit, or a similarity to the label's words.

    `query` are the words the label is explained by. For a head or encoder without sums there are no `tokens`,
    `bias` is None, and `note` says so.
    """

    label: str
    probability: float
    text: str
    query: str
    score: float
    bias: float | None
    tokens: tuple[Contribution, ...]
    query_tokens: tuple[Contribution, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class LabelExplainService:
    classifiers: ClassifierService
    zero_shot: ClassifyService
    explain: ExplainService

    def by_classifier(self, text: str, name: str) -> ExplainedLabel:
        """Why a trained classifier gives the text its most probable label. Raises what `classify` raises."""
        (prediction,) = self.classifiers.classify(name, [text], evidence=True).predictions
        evidence = prediction.evidence
        assert evidence is not None  # it was asked for
        return _of_evidence(text, prediction, evidence)

    def by_labels(self, text: str, labels: Sequence[Label], wanted: str | None) -> ExplainedLabel:
        """Why the text is near to the label chosen without training, or to the `wanted` one of them.

        Raises InvalidInput.
        """
        (result,) = self.zero_shot.classify([text], labels)
        label = _label_of(result, labels, wanted)
        words = f"{label.name}: {label.description}" if label.description else label.name
        explained = self.explain.explain_text(words, PassageText("", text)).explanation
        return ExplainedLabel(
            label.name,
            result.scores[label.name],
            text,
            HYPOTHESIS.format(words),
            explained.score,
            0.0,
            explained.tokens,
            explained.query_tokens,
        )


def _label_of(result: Classification, labels: Sequence[Label], wanted: str | None) -> Label:
    name = result.label if wanted is None else wanted
    for label in labels:
        if label.name == name:
            return label
    known = ", ".join(repr(label.name) for label in labels[:20])
    raise InvalidInput(f"label is {name[:100]!r}; it must be one of the labels: {known}.")


def _of_evidence(text: str, prediction: Prediction, evidence: Evidence) -> ExplainedLabel:
    tokens = tuple(
        Contribution(
            token.text,
            TokenField.TEXT if token.end > token.start else TokenField.SPECIAL,
            token.start,
            token.end,
            token.contribution,
        )
        for token in evidence.tokens
    )
    probability = prediction.scores.get(evidence.label, prediction.score)
    query = HYPOTHESIS.format(evidence.label)
    note = NOT_AVAILABLE if evidence.bias is None else ""
    return ExplainedLabel(
        evidence.label, probability, text, query, evidence.logit, evidence.bias, tokens, note=note
    )
