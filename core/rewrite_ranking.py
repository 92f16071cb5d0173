"""Which candidate is shown first: as the generator scores them, or by how they keep to the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.generation_types import Generated, GenerationTask
from core.telling_words import phrases, unsupported

SPARE: Final = 3  # candidates made beyond those wanted, for those that are dropped
MOST_CANDIDATES: Final = 8
# A question is chosen among as many as there may be: the generator's own favourite often asks for what the
# text does not speak of. Weights by ROUGE-L on 300 development rows, the same within .003 from half to twice.
_RANKED: Final = (GenerationTask.ASK,)
_STRANGE_WORD: Final = 0.1  # nats a token, for each telling word that the text has not
_NEIGHBOURS: Final = 0.3  # for the share of neighbouring words that are near each other in the text


def candidates_of(task: GenerationTask, n: int) -> int:
    """How many are made where `n` are wanted."""
    return MOST_CANDIDATES if task in _RANKED else min(n + SPARE, MOST_CANDIDATES)


def order(task: GenerationTask, source: str, candidates: Sequence[Generated]) -> list[int]:
    """Their places, that of the best first."""
    if task not in _RANKED:
        return list(range(len(candidates)))
    worth = [_worth(source, candidate) for candidate in candidates]
    return sorted(range(len(candidates)), key=lambda place: -worth[place])


def _worth(source: str, candidate: Generated) -> float:
    strange = len(unsupported(candidate.text, [source]))
    return candidate.score - _STRANGE_WORD * strange + _NEIGHBOURS * phrases(candidate.text, [source])
