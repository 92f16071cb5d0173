"""The paired randomisation test: exact cases, power, and calibration under the null hypothesis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from core.errors import InvalidInput
from evaluation.significance import paired_p_value


def named(values: npt.ArrayLike) -> dict[str, float]:
    return {f"q{i}": float(value) for i, value in enumerate(np.asarray(values))}


def test_identical_systems_have_p_one() -> None:
    values = named(np.random.default_rng(0).random(100))

    assert paired_p_value(values, dict(values)) == 1.0


def test_a_single_item_that_differs_proves_nothing() -> None:
    assert paired_p_value(named([0.5, 1.0, 0.2]), named([0.5, 0.0, 0.2])) == 1.0


def test_few_items_are_counted_exactly() -> None:
    assert paired_p_value(named([0.1, 0.2, 0.3, 0.4]), named([0, 0, 0, 0])) == pytest.approx(2 / 2**4)


@pytest.mark.parametrize("n", [5, 13, 40])
def test_p_is_that_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    ours, theirs = rng.integers(0, 5, n) / 4 + 0.2, rng.integers(0, 5, n) / 4  # with ties
    expected = stats.permutation_test(
        (ours - theirs,), np.sum, permutation_type="samples", vectorized=True, n_resamples=9_999, rng=rng
    ).pvalue

    assert paired_p_value(named(ours), named(theirs)) == pytest.approx(expected, abs=0.015 * (n > 13))


def test_a_clearly_better_system_has_a_small_p_in_both_directions() -> None:
    rng = np.random.default_rng(0)
    weak = rng.random(100)
    strong = weak + 0.1 + 0.1 * rng.normal(size=100)

    assert paired_p_value(named(strong), named(weak)) < 0.001
    assert paired_p_value(named(weak), named(strong)) < 0.001


def test_p_is_the_same_on_every_run() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = named(rng.random(50)), named(rng.random(50))

    assert paired_p_value(ours, theirs) == paired_p_value(ours, theirs)


def test_systems_of_equal_quality_are_called_different_about_as_often_as_the_level_says() -> None:
    ps = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        ps.append(paired_p_value(named(rng.random(30)), named(rng.random(30))))

    assert 0.01 <= np.mean(np.array(ps) <= 0.05) <= 0.10  # 200 draws: 0.05 +- 3 standard errors
    assert 0.42 <= np.mean(ps) <= 0.58


def test_different_items_are_refused_with_an_example() -> None:
    with pytest.raises(InvalidInput, match=r"2 and 3, for example 'q2' in one alone"):
        paired_p_value(named([1, 2]), named([1, 2, 3]))
