"""The use case classify: what is refused, and what reaches the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from core.classify import ClassifyLimits, ClassifyService
from core.errors import InvalidInput
from core.label_types import Classification, Label, ZeroShotOptions

LABELS = [Label("cat"), Label("dog", phrasings=("hound", "puppy"))]


@dataclass
class FakeModel:
    asked: list[ZeroShotOptions] = field(default_factory=list)

    def classify(
        self, texts: Sequence[str], labels: Sequence[Label], options: ZeroShotOptions
    ) -> list[Classification]:
        self.asked.append(options)
        return [Classification(labels[0].name, 1.0, {}) for _ in texts]


def service(limits: ClassifyLimits | None = None) -> ClassifyService:
    return ClassifyService(FakeModel(), limits or ClassifyLimits())


def test_options_reach_the_model() -> None:
    model = FakeModel()
    options = ZeroShotOptions(multi_label=True, templates=("about {}",))
    ClassifyService(model, ClassifyLimits()).classify(["a"], LABELS, options)
    assert model.asked == [options]


@pytest.mark.parametrize(
    ("templates", "words"),
    [
        ((), "0 templates were sent"),
        (("{}",) * 17, "17 templates were sent"),
        (("no place",), "templates[0] is 'no place'; it must hold {} once"),
        (("{}", "{} and {}"), "templates[1] is '{} and {}'; it must hold {} once"),
        ((" ",), "templates[0] is empty"),
    ],
)
def test_templates_hold_a_name_once(templates: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        service().classify(["a"], LABELS, ZeroShotOptions(templates=templates))
    assert words in str(refusal.value)


def test_wordings_in_all_templates_are_limited() -> None:
    options = ZeroShotOptions(templates=("{}", "my {}"))
    service(ClassifyLimits(max_wordings=8)).classify(["a"], LABELS, options)
    with pytest.raises(InvalidInput, match="8 wordings were sent; 0 to 7 are allowed"):
        service(ClassifyLimits(max_wordings=7)).classify(["a"], LABELS, options)


def test_an_empty_phrasing_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"labels\[1\].phrasings\[0\] is empty"):
        service().classify(["a"], [Label("cat"), Label("dog", phrasings=(" ",))])
