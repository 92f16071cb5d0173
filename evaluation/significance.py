"""Paired randomisation test between two systems (Smucker, Allan, Carterette 2007, section 3.3).

Under the null hypothesis the two systems are exchangeable, so the sign of each item's difference is a coin
toss. The two-sided p-value is the share of sign assignments whose mean difference is at least as far from 0
as the one observed: all 2^n of them for n <= 13 items, else 9,999 drawn with a fixed seed, where
p = (1 + as far) / (1 + drawn). P-values are of single tests, without correction for how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

from core.errors import InvalidInput

METHOD = "paired randomisation test (sign flips), two-sided, 9,999 draws, seed 0, uncorrected"
DRAWS = 9_999
SEED = 0


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
    differences = np.array([ours[item] - theirs[item] for item in ours])
    differences = differences[differences != 0]  # a 0 has no sign: leaving it out changes no assignment
    if not len(differences):
        return 1.0
    if len(differences) == 1:
        return 1.0  # both assignments are equally far from 0; the library refuses one item
    result = stats.permutation_test(
        (differences,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=DRAWS,
        batch=512,
        rng=np.random.default_rng(SEED),
    )
    return float(result.pvalue)
