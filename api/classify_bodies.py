"""Request bodies of classification by the contract."""

from __future__ import annotations

from pydantic import Field, model_validator

from api.bodies import Body, Items
from core.classify import ClassifyLimits
from core.label_types import Label, ZeroShotOptions

OF_LABELS = {"multi_label", "none_of_these", "templates", "transductive"}
OF_CLASSIFIER = {"version", "evidence"}


class LabelBody(Body):
    name: str
    description: str = ""
    examples: Items[str] = Field(default_factory=list)
    phrasings: Items[str] = Field(default_factory=list, description="Other ways to say the name.")

    def label(self) -> Label:
        return Label(self.name, self.description, tuple(self.examples), tuple(self.phrasings))


class ClassifyBody(Body):
    """Exactly one of labels (zero-shot) and classifier (trained)."""

    texts: Items[str] = Field(max_length=ClassifyLimits().max_texts)
    labels: Items[str | LabelBody] | None = Field(default=None, max_length=ClassifyLimits().max_labels)
    multi_label: bool = Field(default=False, description="Each label has a probability of its own.")
    none_of_these: bool = Field(default=False, description="No label may fit.")
    templates: Items[str] | None = Field(
        default=None, description="Sentences around a label's name.", examples=[["{}", "a letter about {}"]]
    )
    transductive: bool = Field(default=False, description="The texts of the call help each other.")
    classifier: str | None = None
    version: int | None = Field(default=None, ge=1, lt=2**31, description="The active one when absent.")
    evidence: bool = Field(default=False, description="Nearest examples, and what each token adds.")

    @model_validator(mode="after")
    def _check_choice(self) -> ClassifyBody:
        if (self.labels is None) == (self.classifier is None):
            raise ValueError("send either labels or classifier")
        given, foreign = ("classifier", OF_LABELS) if self.labels is None else ("labels", OF_CLASSIFIER)
        sent = {name for name in self.model_fields_set if getattr(self, name) is not None}
        if misplaced := sorted(sent & foreign):
            raise ValueError(f"{misplaced[0]} does not go with {given}")
        return self

    def typed_labels(self) -> list[Label]:
        items = self.labels or []
        return [Label(item) if isinstance(item, str) else item.label() for item in items]

    def options(self) -> ZeroShotOptions:
        templates = None if self.templates is None else tuple(self.templates)
        return ZeroShotOptions(self.multi_label, self.none_of_these, templates, self.transductive)
