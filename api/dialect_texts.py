"""Texts of the dialects: which end is cut; of classification, refused under the caller's own names for them.

The use cases check texts too, and would name them as the contract does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator

from core.classify import ClassifyLimits
from core.errors import InvalidInput
from core.example_checks import check_one

LIMITS: Final = ClassifyLimits()

# Text-embeddings-inference says `Right`, the client of huggingface_hub `right`.
CutSide = Annotated[Literal["Right"], BeforeValidator(lambda given: "Right" if given == "right" else given)]


def named(field: str, texts: str | Sequence[str], inner: str = "") -> dict[str, str]:
    """The texts of a field by their places in it: `inputs`, or `inputs[0]` and what follows.

    Raises InvalidInput when there are none, or more than a call may have.
    """
    if isinstance(texts, str):
        return {field: texts}
    if not texts:
        raise InvalidInput(f"{field} is empty; send at least one text.")
    check_count(field, len(texts))
    return {f"{field}[{i}]{inner}": text for i, text in enumerate(texts)}


def check_count(field: str, items: int) -> None:
    """Raises InvalidInput for more than a call may have."""
    if items > LIMITS.max_texts:
        raise InvalidInput(f"{field} has {items:,} items; at most {LIMITS.max_texts:,} are allowed.")


def check_named(texts: Mapping[str, str]) -> None:
    """Raises InvalidInput for the first that says nothing or is too long, by its name."""
    for name, text in texts.items():
        check_one(text, name, LIMITS.max_text_bytes)
