"""Request bodies of explanations and rewrites."""

from __future__ import annotations

from pydantic import Field, model_validator

from api.bodies import Body, Items
from api.classify_bodies import LabelBody
from core.classify import ClassifyLimits
from core.label_types import Label
from core.rewrite import TASKS, RewriteLimits

TARGETS = (
    frozenset({"query", "collection", "id"}),
    frozenset({"query", "text"}),
    frozenset({"text", "classifier"}),
    frozenset({"text", "labels"}),
)
GOES_WITH = {"title": "query", "label": "labels", "matrix": "query"}


class ExplainBody(Body):
    """A query with a document or a text, or a text with its classifier or labels."""

    query: str | None = None
    collection: str | None = None
    id: str | None = None
    text: str | None = None
    title: str = ""
    classifier: str | None = None
    labels: Items[str | LabelBody] | None = Field(default=None, max_length=ClassifyLimits().max_labels)
    label: str | None = Field(default=None, description="Which of the labels; the one chosen when absent.")
    matrix: bool = Field(default=False, description="Also the contributions of each pair of tokens.")
    generate: bool = Field(default=False, description="Have the sentence written; it is verified first.")

    @model_validator(mode="after")
    def _check_target(self) -> ExplainBody:
        named = ("query", "collection", "id", "text", "classifier", "labels")
        given = frozenset(name for name in named if getattr(self, name) is not None)
        if given not in TARGETS:
            raise ValueError(
                "send query with collection and id, query with text (and title), text with classifier, or"
                " text with labels"
            )
        for name, other in GOES_WITH.items():
            if getattr(self, name) and other not in given:
                raise ValueError(f"{name} goes with {other}")
        if self.title and "text" not in given:
            raise ValueError("title goes with text")
        return self

    def typed_labels(self) -> list[Label]:
        return [Label(item) if isinstance(item, str) else item.label() for item in self.labels or ()]


class RewriteBody(Body):
    texts: Items[str] = Field(description=f"1 to {RewriteLimits().max_texts} texts.")
    task: str = Field(max_length=100, description=f"One of {', '.join(TASKS)}.", examples=["paraphrase"])
    n: int = Field(default=1, description=f"1 to {RewriteLimits().max_n}; fewer come back, not bad ones.")
    stream: bool = Field(default=False, description="Server-sent events, of one text and n = 1.")

    @model_validator(mode="after")
    def _check_stream(self) -> RewriteBody:
        if self.stream and (len(self.texts) != 1 or self.n != 1):
            raise ValueError(
                f"stream takes one text and n = 1; found {len(self.texts)} texts and n = {self.n}"
            )
        return self
