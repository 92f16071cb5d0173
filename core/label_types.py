"""Labels, and what a classification without training says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TRANSDUCTIVE_TEXTS: Final = 5  # a label; the means of fewer are worse than its words


def label_as_text(value: str | float) -> str:
    """The label that a value of a file or of metadata stands for: `true` of a truth value, "7" of 7.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Label:
    """A class for zero-shot classification: its name, and optionally words and examples that tell it."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    phrasings: tuple[str, ...] = ()  # other ways to say the name


@dataclass(frozen=True, slots=True)
class ZeroShotOptions:
    """How texts are compared to labels; the defaults pick one label for each text by itself.

    `multi_label`: each label has a probability of its own. `none_of_these`: no label may fit. `templates`
    hold a name at "{}"; None takes the built-in ones. `transductive`: the texts of a call help each other,
    so that an answer depends on the other texts; it needs TRANSDUCTIVE_TEXTS texts a label.
    """

    multi_label: bool = False
    none_of_these: bool = False
    templates: tuple[str, ...] | None = None
    transductive: bool = False


@dataclass(frozen=True, slots=True)
class Classification:
    """`label` is the most probable one, `labels` those given: none where none fits, several if asked for.

    `none` is the probability that none of the labels fits, where that was asked for.
    """

    label: str
    score: float
    scores: Mapping[str, float]
    is_truncated: bool = False  # the encoder read only the start of the text
    labels: tuple[str, ...] = ()
    none: float | None = None
