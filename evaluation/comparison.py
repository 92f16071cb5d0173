"""Two reports side by side: differences and, where a measure has values per item, their significance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import InvalidInput
from evaluation.results import Measure, Report, Result
from evaluation.significance import paired_p_value


@dataclass(frozen=True, slots=True)
class Difference:
    """`ours` minus `theirs` is `difference`; `p` is None for a measure that is no mean over items."""

    data_set: str
    measure: str
    ours: float
    theirs: float
    difference: float
    p: float | None


def compare(ours: Report, theirs: Report) -> tuple[Difference, ...]:
    """Differences of all measures that both reports hold.

    Raises InvalidInput when they share none, or measured the same name on different items.
    """
    others = {result.data_set: result for result in theirs.results}
    pairs = [(result, others[result.data_set]) for result in ours.results if result.data_set in others]
    differences = tuple(difference for pair in pairs for difference in _differences(*pair))
    if not differences:
        raise InvalidInput(
            f"{ours.system} and {theirs.system} share no measure: the second was measured on"
            f" {', '.join(sorted(others)) or 'nothing'}; evaluate both on the same data."
        )
    return differences


def _differences(ours: Result, theirs: Result) -> Iterator[Difference]:
    others = {measure.name: measure for measure in theirs.measures}
    for measure in ours.measures:
        if (other := others.get(measure.name)) is not None:
            yield _difference(ours.data_set, measure, other)


def _difference(data_set: str, ours: Measure, theirs: Measure) -> Difference:
    try:
        p = paired_p_value(ours.items, theirs.items) if ours.items or theirs.items else None
    except InvalidInput as error:
        raise InvalidInput(f"{data_set}, {ours.name}: {error}") from None
    return Difference(data_set, ours.name, ours.value, theirs.value, ours.value - theirs.value, p)
