"""Request bodies of trained classifiers. Examples are read one by one, off the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from api.bodies import Body, Items
from core.classifier_types import (
    Classifier,
    CollectionSource,
    HeadKind,
    LabelledText,
    Labelling,
    TrainingOptions,
    TrainRequest,
)
from core.errors import InvalidInput

DEFAULTS = TrainingOptions()
EXAMPLE_FIELDS = ("text", "label", "labels")
AN_EXAMPLE = "Objects {text, label} or, where a text may have several labels, {text, labels: [...]}."


class DescribedLabelBody(Body):
    name: str
    description: str = ""


class SourceBody(Body):
    collection: str
    label_field: str = Field(min_length=1, description="Metadata field that holds the label or labels.")


class OptionsBody(Body):
    """What is left out is the service's choice."""

    head: Annotated[HeadKind | None, Field(strict=False)] = None
    multi_label: bool | None = None
    target_precision: float = Field(default=DEFAULTS.target_precision, gt=0, lt=1)
    abstain_below: float | None = Field(default=None, ge=0, le=1)
    out_of_scope: bool = DEFAULTS.out_of_scope
    fine_tune: bool = DEFAULTS.fine_tune
    seed: int = Field(default=DEFAULTS.seed, ge=0, lt=2**32)

    def options(self) -> TrainingOptions:
        return TrainingOptions(**dict(self))


class ClassifierBody(Body):
    """Examples or a collection; with neither it is trained again on the examples that are stored, with the
    labels and options stored too where they are left out."""

    labels: Items[str | DescribedLabelBody] | None = Field(default=None, max_length=1000)
    examples: list[Any] | None = Field(
        default=None,
        description=AN_EXAMPLE,
        examples=[[{"text": "Where is my parcel?", "label": "delivery"}]],
    )
    from_collection: SourceBody | None = None
    options: OptionsBody | None = None

    @model_validator(mode="after")
    def _check_choice(self) -> ClassifierBody:
        if self.examples is not None and self.from_collection is not None:
            raise ValueError("send either examples or from_collection")
        return self

    @property
    def is_repetition(self) -> bool:
        """Whether it asks for another training on what is stored."""
        return self.examples is None and self.from_collection is None

    def request(self, stored: Classifier | None = None) -> TrainRequest:
        """What is left out is as in `stored`. Raises InvalidInput naming the example or label at fault."""
        source, options, descriptions = self.from_collection, OptionsBody().options(), self._descriptions()
        if stored is not None:
            options = stored.options
            descriptions = descriptions if self.labels is not None else dict(stored.descriptions)
        return TrainRequest(
            examples=None if self.examples is None else read_examples(self.examples),
            descriptions=descriptions,
            source=None if source is None else CollectionSource(source.collection, source.label_field),
            options=options if self.options is None else self.options.options(),
        )

    def _descriptions(self) -> dict[str, str]:
        described: dict[str, str] = {}
        for item in self.labels or ():
            name, told = (item, "") if isinstance(item, str) else (item.name, item.description)
            if name in described:
                raise InvalidInput(f"labels holds {name[:100]!r} more than once; name each label once.")
            described[name] = told
        return described


class ExamplesBody(Body):
    """Examples to add; a text that is stored already gets the labels sent now."""

    examples: list[Any] = Field(default_factory=list, description=AN_EXAMPLE)
    remove: Items[str] = Field(default_factory=list, description="Texts of examples to take out.")

    @model_validator(mode="after")
    def _check_choice(self) -> ExamplesBody:
        if not self.examples and not self.remove:
            raise ValueError("send examples, remove, or both")
        return self


class LabelCollectionBody(Body):
    classifier: str
    write_to: str = Field(min_length=1, description="Metadata field that gets the label or labels.")
    on_arrival: bool = Field(default=False, description="Also label documents that come later.")
    overwrite: bool = Field(default=False, description="Hide what documents' own metadata hold in the field.")

    def asked(self) -> Labelling:
        return Labelling(self.classifier, self.write_to, self.on_arrival, self.overwrite)


def read_examples(items: Sequence[Any]) -> tuple[LabelledText, ...]:
    """Examples as a caller sent them. Raises InvalidInput naming the first at fault."""
    return tuple(_read_example(item, f"examples[{i}]") for i, item in enumerate(items))


def _read_example(item: Any, place: str) -> LabelledText:
    if not isinstance(item, dict):
        raise InvalidInput(f"{place} must be an object with text and label.")
    unknown = sorted(str(key) for key in item if key not in EXAMPLE_FIELDS)
    if unknown:
        raise InvalidInput(f"{place} has the unknown field {unknown[0][:100]!r}; it has text and label.")
    text = item.get("text")
    if not isinstance(text, str):
        raise InvalidInput(f"{place}.text must be a string.")
    return LabelledText(text, _labels_of(item, place))


def _labels_of(item: dict[str, Any], place: str) -> tuple[str, ...]:
    label, labels = item.get("label"), item.get("labels")
    if (label is None) == (labels is None):
        raise InvalidInput(f"{place} needs either label (a string) or labels (a list of strings).")
    given = labels if label is None else [label]
    if not isinstance(given, list) or not all(isinstance(label, str) for label in given):
        raise InvalidInput(f"{place} needs either label (a string) or labels (a list of strings).")
    return tuple(given)
