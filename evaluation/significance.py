"""Paired randomisation test between two systems (Smucker, Allan, Carterette 2007, section 3.3).

Under the null hypothesis the two systems are exchangeable, so the sign of each item's difference is a coin
toss. The two-sided p-value is the share of sign assignments whose mean difference is at least as far from 0
as the one observed: all 2^n of them for n <= 13 items, else 9,999 drawn with a fixed seed, where
p = (1 + as far) / (1 + drawn). P-values are of single tests, without correction for how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.errors import InvalidInput
from core.types import Float64

METHOD = "paired randomisation test (sign flips), two-sided, 9,999 draws, seed 0, uncorrected"
EXACT_UP_TO = 13  # items
DRAWS = 9_999
SEED = 0
BATCH = 512
ROUNDING = 1e-9  # of the largest possible sum: sums of the same numbers in other signs differ by less


def paired_p_value(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """p of the hypothesis that the mean difference of the items is 0.

    Raises InvalidInput unless both hold the same items, at least one.
    """
    if not ours or ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        raise InvalidInput(
            f"The two systems were measured on different items ({len(ours):,} and {len(theirs):,}"
            f"{f', for example {odd[0]!r} in one alone' if odd else ''}); measure both on the same data."
        )
    return p_value_of_differences(np.array([ours[item] - theirs[item] for item in ours]))


def p_value_of_differences(differences: Float64) -> float:
    """p of the hypothesis that the mean of the differences (n,) of n items is 0."""
    differences = differences[differences != 0]  # a 0 has no sign: leaving it out changes no assignment
    n = len(differences)
    least = abs(differences.sum()) - ROUNDING * np.abs(differences).sum()
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)  # (2^n, n) of 1 and -1
        return float((np.abs(signs @ differences) >= least).mean())
    rng, as_far = np.random.default_rng(SEED), 0
    for start in range(0, DRAWS, BATCH):
        signs = rng.choice((-1.0, 1.0), (min(BATCH, DRAWS - start), n))
        as_far += int((np.abs(signs @ differences) >= least).sum())
    return (1 + as_far) / (1 + DRAWS)
