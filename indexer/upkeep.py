"""When an index is to be compacted: by how much it grew, and on which occasion that is asked."""

from __future__ import annotations

from enum import Enum
from typing import Final

MIN_DELTA: Final = 2_000
MAX_DELTA_SHARE: Final = 0.10
MIN_RESTING_DELTA: Final = 500
RESTING_DELTA_SHARE: Final = 0.01
MIN_DEAD: Final = 1_000
MAX_DEAD_SHARE: Final = 0.20
MIN_REQUESTED_DEAD: Final = 50
REQUESTED_DEAD_SHARE: Final = 0.10  # from which a compaction leaves the dead behind
RESTING_DEAD_WORDS_SHARE: Final = 0.02


class Occasion(Enum):
    """`WRITING`: changes keep coming. `RESTING`: none came for a while. `REQUESTED`: time to tidy up."""

    WRITING = "writing"
    RESTING = "resting"
    REQUESTED = "requested"


def has_large_delta(main: int, delta: int, occasion: Occasion) -> bool:
    """Whether so many rows wait to be folded into main that searches, which compare all of them, are slow."""
    if occasion is Occasion.WRITING:
        return delta > max(MIN_DELTA, MAX_DELTA_SHARE * main)
    return delta > max(MIN_RESTING_DELTA, RESTING_DELTA_SHARE * main)


def has_many_dead(dead: int, total: int, occasion: Occasion = Occasion.WRITING) -> bool:
    """Whether so many of `total` rows are dead that they take room, time, and bend scores."""
    if occasion is Occasion.REQUESTED:
        return dead > max(MIN_REQUESTED_DEAD, REQUESTED_DEAD_SHARE * total)
    return dead > max(MIN_DEAD, MAX_DEAD_SHARE * total)


def has_bent_scores(dead: int, total: int, occasion: Occasion) -> bool:
    """Whether so many of `total` passages are dead that frequencies of words, which count them, mislead."""
    if occasion is Occasion.RESTING:
        return dead > RESTING_DEAD_WORDS_SHARE * total
    return has_many_dead(dead, total, occasion)
