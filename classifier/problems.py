"""What looks wrong with labelled examples: told, never mended behind the caller's back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.classifier_types import Bools
from core.example_checks import alike_labels
from core.twins import twin_groups

SHOWN = 5
TINY = 5
LOPSIDED = 20
MAX_QUOTED = 80


def find_problems(labels: Sequence[str], texts: Sequence[str], truth: Bools) -> list[str]:
    """Sentences for people; empty when nothing was found. `truth` (n, c) is of n texts and c labels."""
    groups = _grouped(texts)
    return [
        *alike_labels(labels),
        *_contradictions(labels, texts, truth, groups),
        *_repetitions(groups),
        *_small(labels, truth),
        *_lopsided(labels, truth),
    ]


def _contradictions(
    labels: Sequence[str], texts: Sequence[str], truth: Bools, groups: list[list[int]]
) -> list[str]:
    odd = [rows for rows in groups if len(rows) > 1 and (truth[rows] != truth[rows[0]]).any()]
    if not odd:
        return []
    shown = "; ".join(
        f"{_short(texts[rows[0]])!r} as "
        + " and as ".join(dict.fromkeys(_names(labels, truth, row) for row in rows))
        for rows in odd[:SHOWN]
    )
    return [f"{len(odd):,} texts stand more than once with different labels: {shown}. Correct one of each."]


def _repetitions(groups: list[list[int]]) -> list[str]:
    extra = sum(len(rows) - 1 for rows in groups)
    if not extra:
        return []
    return [
        f"{extra:,} examples repeat the text of another but for case and white space; such are held out"
        " together."
    ]


def _small(labels: Sequence[str], truth: Bools) -> list[str]:
    support = truth.sum(axis=0)
    small = np.flatnonzero(support < TINY)
    if not len(small):
        return []
    shown = ", ".join(f"{labels[int(i)]!r} ({support[i]})" for i in small[:SHOWN])
    return [
        f"{len(small):,} labels have fewer than {TINY} examples: {shown}{_more(len(small))}."
        " Their figures say little; add examples."
    ]


def _lopsided(labels: Sequence[str], truth: Bools) -> list[str]:
    support = truth.sum(axis=0)
    most, least = int(support.argmax()), int(support.argmin())
    if support[most] < LOPSIDED * max(1, int(support[least])):
        return []
    return [
        f"The label {labels[most]!r} has {support[most]:,} examples, {labels[least]!r} has"
        f" {support[least]:,}; read macro-F1 and the table of labels rather than the accuracy."
    ]


def _grouped(texts: Sequence[str]) -> list[list[int]]:
    """The rows of each text."""
    numbers = twin_groups(texts).tolist()
    groups: list[list[int]] = [[] for _ in range(max(numbers, default=-1) + 1)]
    for row, number in enumerate(numbers):
        groups[number].append(row)
    return groups


def _names(labels: Sequence[str], truth: Bools, row: int) -> str:
    return " + ".join(repr(labels[int(i)]) for i in np.flatnonzero(truth[row])) or "none"


def _short(text: str) -> str:
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 1]}…"


def _more(count: int) -> str:
    return " …" if count > SHOWN else ""
