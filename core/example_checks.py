"""Checks examples and texts as callers send them: a bad one is named, nothing is dropped in silence."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.classifier_types import LabelledText
from core.documents import check_text
from core.errors import InvalidInput

SHOWN = 100  # errors told of one call
QUOTED = 80  # characters


@dataclass(frozen=True, slots=True)
class ClassifierLimits:
    """What one classifier may hold, and one call ask; sizes are UTF-8 bytes."""

    max_examples: int = 100_000
    max_labels: int = 1000
    max_text_bytes: int = 1024 * 1024
    max_label_bytes: int = 512
    max_texts: int = 2048
    max_suggestions: int = 1000


def check_examples(
    examples: Sequence[LabelledText], multi_label: bool | None, limits: ClassifierLimits
) -> list[LabelledText]:
    """The examples of one call, each text once, with each of its labels once.

    Raises InvalidInput for too many, for a text or label that is empty or too long, for an example with
    several labels or none where each needs one, and for a text that comes with different labels.
    """
    if len(examples) > limits.max_examples:
        raise InvalidInput(
            f"{len(examples):,} examples were sent; a classifier takes at most {limits.max_examples:,}."
        )
    examples = [replace(one, labels=tuple(dict.fromkeys(one.labels))) for one in examples]
    for i, example in enumerate(examples):
        check_one(example.text, f"examples[{i}].text", limits.max_text_bytes)
        for label in example.labels:
            check_one(label, f"a label of examples[{i}]", limits.max_label_bytes)
        _check_count(i, example.labels, multi_label)
    return _once(examples)


def check_one(text: str, name: str, max_bytes: int) -> None:
    """Raises InvalidInput unless `text` says something and is short enough."""
    size = len(check_text(text, name))
    if not text.strip():
        raise InvalidInput(f"{name} is empty or white space.")
    if size > max_bytes:
        raise InvalidInput(f"{name} has {size:,} bytes; the limit is {max_bytes:,}.")


def check_labels(labels: Iterable[Sequence[str]], multi_label: bool | None, limits: ClassifierLimits) -> None:
    """Raises InvalidInput unless the labels of all examples of a classifier can be told apart."""
    check_label_counts(Counter(map(frozenset, labels)), multi_label, limits)


def check_label_counts(
    counts: Mapping[frozenset[str], int], multi_label: bool | None, limits: ClassifierLimits
) -> None:
    """`check_labels` where it is known of each set of labels how many examples have it."""
    examples = sum(counts.values())
    if examples < 2:
        found = "is one example" if examples else "are no examples"
        raise InvalidInput(f"There {found}; a classifier needs examples of at least two labels.")
    known = frozenset().union(*counts)
    if len(known) > limits.max_labels:
        raise InvalidInput(
            f"The examples have {len(known):,} different labels; a classifier takes at most"
            f" {limits.max_labels:,}. Is the label field an id or a free text?"
        )
    # One label is enough where some examples have it and others have none.
    if len(counts) < 2:
        found = ", ".join(map(repr, sorted(known))) or "none"
        raise InvalidInput(
            f"All {examples:,} examples have the same label ({found}); a classifier needs examples"
            " of at least two."
        )
    if multi_label is False and any(len(one) != 1 for one in counts):
        raise InvalidInput(
            "Some examples have several labels or none, but multi_label is false; give each one label, or"
            " set multi_label to true."
        )


def alike_labels(new: Iterable[str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Sentences about labels of `new` that are written almost as others of either.

    Where they look the same, their characters are told by number.
    """
    groups: dict[str, set[str]] = defaultdict(set)
    fresh = set(new)
    for label in sorted(fresh.union(known)):
        groups[_as_compared(label)].add(label)
    return tuple(
        f"The labels {', '.join(_told_apart(group))} differ only by case, spaces, hyphens or Unicode"
        " spelling; they are kept apart. If they mean the same, give them one name."
        for group in groups.values()
        if len(group) > 1 and group & fresh
    )


def folded(text: str) -> str:
    """`text` without differences of case, Unicode spelling (NFKC), and how much white space there is."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", plain).split())


def _as_compared(label: str) -> str:
    """`folded`, and without spaces, dashes of all kinds and underscores."""
    return "".join(one for one in folded(label) if one not in " _" and unicodedata.category(one) != "Pd")


def _told_apart(group: set[str]) -> list[str]:
    look = {unicodedata.normalize("NFC", label) for label in group}
    return [repr(label) if len(look) == len(group) else ascii(label) for label in sorted(group)]


def _check_count(i: int, labels: Sequence[str], multi_label: bool | None) -> None:
    if not labels and not multi_label:
        raise InvalidInput(
            f"examples[{i}] has no label; only with multi_label set to true may an example have none."
        )
    if len(labels) > 1 and multi_label is False:
        raise InvalidInput(
            f"examples[{i}] has {len(labels)} labels, but multi_label is false; give it one, or set"
            " multi_label to true."
        )


def _once(examples: Sequence[LabelledText]) -> list[LabelledText]:
    first: dict[str, LabelledText] = {}
    errors: list[dict[str, object]] = []
    for i, example in enumerate(examples):
        before = first.setdefault(example.text, example)
        if set(before.labels) != set(example.labels):
            told = f"examples[{i}] repeats an earlier text with other labels"
            errors.append({"text": example.text[:QUOTED], "reason": told})
    if errors:
        raise InvalidInput(
            f"{len(errors):,} examples repeat the text of another with different labels, for example"
            f" {errors[0]['text']!r}; which is right cannot be known. Send each text once, with its right"
            " label (or all its labels, with multi_label).",
            errors[:SHOWN],
        )
    return list(first.values())
