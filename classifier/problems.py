"""What looks wrong with labelled examples: told, never mended behind the caller's back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from core.classifier_types import Bools
from core.example_checks import alike_labels, folded

SHOWN = 5
TINY = 5
LOPSIDED = 20
MAX_QUOTED = 80


def find_problems(labels: Sequence[str], texts: Sequence[str], truth: Bools) -> list[str]:
    """Sentences for people; empty when nothing was found. `truth` (n, c) is of n texts and c labels."""
    return [
        *alike_labels(labels),
        *_contradictions(labels, texts, truth),
        *_repetitions(texts),
        *_small(labels, truth),
        *_lopsided(labels, truth),
    ]


def _contradictions(labels: Sequence[str], texts: Sequence[str], truth: Bools) -> list[str]:
    groups = _grouped(folded(text) for text in texts)
    odd = [rows for rows in groups if len(rows) > 1 and (truth[rows] != truth[rows[0]]).any()]
    if not odd:
        return []
    shown = "; ".join(
        f"{_short(texts[rows[0]])!r} as "
        + " and as ".join(dict.fromkeys(_names(labels, truth, row) for row in rows))
        for rows in odd[:SHOWN]
    )
    return [f"{len(odd):,} texts stand more than once with different labels: {shown}. Correct one of each."]


def _repetitions(texts: Sequence[str]) -> list[str]:
    extra = len(texts) - len(set(texts))
    return [f"{extra:,} examples repeat the text of another, word for word."] if extra else []


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


def _grouped(keys: Iterable[str]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    return list(groups.values())


def _names(labels: Sequence[str], truth: Bools, row: int) -> str:
    return " + ".join(repr(labels[int(i)]) for i in np.flatnonzero(truth[row])) or "none"


def _short(text: str) -> str:
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 1]}…"


def _more(count: int) -> str:
    return " …" if count > SHOWN else ""
