"""Examples whose texts differ only by case, Unicode spelling or white space: most encoders read them as one.

Whoever holds out one of them and keeps the other judges by what was learned by heart. Shapes: n examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.example_checks import folded
from core.types import Int64


def twin_groups(texts: Sequence[str]) -> Int64:
    """(n,) the same number for the same text; counted from 0 in the order in which texts come first."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(folded(text), len(numbers)) for text in texts], np.int64)


def first_rows(groups: Int64) -> Int64:
    """The row of each group's first example, by the group's number."""
    return np.unique(groups, return_index=True)[1]
