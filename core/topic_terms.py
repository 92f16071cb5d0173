"""The words that tell a group of documents from the others: class-based TF-IDF."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from core.topic_types import Term

LIFT: Final = 1.5  # times as frequent in a group as in all: what a word of its own must be at least


@dataclass(slots=True)
class WordCounts:
    """How often each word occurs in the documents of each of k groups.

    Words are counted by what they are indexed as; the spelling that occurs most is shown.
    """

    groups: list[Counter[str]]
    written: dict[str, Counter[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, k: int) -> WordCounts:
        return cls([Counter() for _ in range(k)])

    def add(self, group: int, words: Iterable[tuple[str, str]]) -> None:
        """Words as (stem, word as written) of one document."""
        counter = self.groups[group]
        for stem, word in words:
            counter[stem] += 1
            self.written.setdefault(stem, Counter())[word] += 1

    def terms(self, most: int) -> list[tuple[Term, ...]]:
        """The `most` words of greatest weight of each group, best first; equal ones by their stem.

        Grootendorst 2022, "BERTopic: Neural topic modeling with a class-based TF-IDF procedure", equation 2:
        W(t, c) = tf(t, c) log(1 + A / tf(t)), with A the mean number of words a group; tf(t, c) is divided
        by the number of words of the group, so that weights of different groups compare. Words that are
        hardly more frequent in the group than in all of them tell nothing of it and are left out.
        """
        totals: Counter[str] = Counter()
        for group in self.groups:
            totals.update(group)
        sizes = [group.total() for group in self.groups]
        mean = sum(sizes) / max(1, sum(size > 0 for size in sizes))
        rarity = {stem: math.log(1 + mean / total) for stem, total in totals.items() if _has_letter(stem)}
        usual = {stem: total / sum(sizes) for stem, total in totals.items()}
        weights = (_weights(group, rarity, usual) for group in self.groups)
        return [self._best(ones, most) for ones in weights]

    def _best(self, weights: Mapping[str, float], most: int) -> tuple[Term, ...]:
        best = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:most]
        return tuple(Term(self._spelling(stem), weight) for stem, weight in best)

    def _spelling(self, stem: str) -> str:
        """Of equally frequent ones the first in order."""
        return min(self.written[stem].items(), key=lambda item: (-item[1], item[0]))[0]


def _weights(
    group: Counter[str], rarity: Mapping[str, float], usual: Mapping[str, float]
) -> dict[str, float]:
    size = group.total()
    weights = {stem: tf / size * rarity[stem] for stem, tf in group.items() if stem in rarity}
    own = {stem: weight for stem, weight in weights.items() if group[stem] / size > LIFT * usual[stem]}
    return own or weights


def name_of(terms: Sequence[Term], words: int = 3) -> str:
    """The first words as a name; empty for none."""
    return ", ".join(term.text for term in terms[:words])


def _has_letter(word: str) -> bool:
    return any(letter.isalpha() for letter in word)
