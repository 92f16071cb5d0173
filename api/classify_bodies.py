"""Request bodies of classification by the contract."""

from __future__ import annotations

from pydantic import Field, model_validator

from api.bodies import Body, Items
from core.classify import ClassifyLimits
from core.types import Label


class LabelBody(Body):
    name: str
    description: str = ""
    examples: Items[str] = Field(default_factory=list)

    def label(self) -> Label:
        return Label(self.name, self.description, tuple(self.examples))


class ClassifyBody(Body):
    """Exactly one of labels (zero-shot) and classifier (trained)."""

    texts: Items[str] = Field(max_length=ClassifyLimits().max_texts)
    labels: Items[str | LabelBody] | None = Field(default=None, max_length=ClassifyLimits().max_labels)
    classifier: str | None = None
    version: int | None = Field(default=None, ge=1, lt=2**31, description="The active one when absent.")
    evidence: bool = Field(default=False, description="Nearest examples, and what each token adds.")

    @model_validator(mode="after")
    def _check_choice(self) -> ClassifyBody:
        if (self.labels is None) == (self.classifier is None):
            raise ValueError("send either labels or classifier")
        if self.labels is not None and (self.version is not None or self.evidence):
            raise ValueError("version and evidence go with a classifier, not with labels")
        return self

    def typed_labels(self) -> list[Label]:
        items = self.labels or []
        return [Label(item) if isinstance(item, str) else item.label() for item in items]
