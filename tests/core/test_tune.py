"""Tuning finds a weight that is there to be found, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, InvalidInput, Overloaded
from core.fusion import Fusion
from core.rewritten_search import DEPTH
from core.search_defaults import SearchDefaultsService, fusion_of
from core.search_settings import Setting, applied, setting_of, settings_with
from core.tune import TuneLimits, TuneReport, TuneRequest, TuneService, best, folds
from core.types import SearchDefaults
from tests.core.judged_world import MODES, SEQ, JudgedWorld, RankedSearch, mixed_world


def service(world: JudgedWorld, modes: tuple[str, ...] = MODES) -> TuneService:
    here: Any = world
    judged = world.judged_search(modes)
    defaults = SearchDefaultsService(here, here, here, modes)
    return TuneService(judged, defaults, TuneLimits())


def tune(world: JudgedWorld, request: TuneRequest | None = None) -> TuneReport:
    return service(world).tune("news", request or TuneRequest())


def test_the_weight_that_fits_is_found_and_is_better_out_of_fold() -> None:
    report = tune(mixed_world(100, weight=0.3))
    assert report.chosen == Setting("hybrid", Fusion("convex", 0.3))
    assert report.present == Setting("hybrid", Fusion())
    assert report.is_better
    assert report.p < 0.05
    assert report.value > report.present_value
    assert sum(fold.queries for fold in report.folds) == report.queries == 100
    parts = [(fold.queries, fold.value) for fold in report.folds]
    assert sum(n * value for n, value in parts) / 100 == pytest.approx(report.value)
    assert dict(report.settings)[report.chosen] == max(value for _, value in report.settings)


def test_it_is_stored_only_when_asked_and_the_rest_of_the_defaults_stays() -> None:
    world = mixed_world(100, weight=0.3)
    world.collection = replace(world.collection, search=SearchDefaults("hybrid", rerank=True))
    assert not tune(world).is_applied
    assert (world.collection.search, world.told) == (SearchDefaults("hybrid", rerank=True), [])
    report = tune(world, TuneRequest(is_applied=True))
    assert report.is_applied
    assert (
        report.collection.search == world.collection.search == SearchDefaults("hybrid", "convex", 0.3, True)
    )
    assert world.told == [(1, SEQ)]
    again = tune(world, TuneRequest(is_applied=True))
    assert (again.present, again.is_better, again.is_applied, again.p) == (report.chosen, False, False, 1.0)


def test_what_is_not_better_is_not_stored_although_asked() -> None:
    dense = np.random.default_rng(0).random((40, 50))
    judged = mixed_world(40, 0.5).queries
    world = JudgedWorld(RankedSearch(dense, dense), judged)
    report = tune(world, TuneRequest(is_applied=True))
    assert (report.chosen, report.p) == (report.present, 1.0)
    assert not report.is_applied
    assert world.collection.search == SearchDefaults()


def test_the_out_of_fold_value_is_not_flattered_by_the_choice() -> None:
    """Pure noise: the best of many settings looks good on the queries it was chosen on, and only there."""
    rng = np.random.default_rng(1)
    flattered, honest = [], []
    for seed in range(30):
        values = rng.random((13, 40))
        fold_of = folds(40, 5, seed)
        picks = np.array([best(values[:, fold_of != fold], 0) for fold in range(5)])
        flattered.append(values.mean(axis=1).max())
        honest.append(values[picks[fold_of], np.arange(40)].mean())
    assert np.mean(flattered) > 0.56
    assert abs(np.mean(honest) - 0.5) < 0.03  # 1,200 values of standard deviation 0.29


def test_each_query_is_searched_once_however_many_settings_are_tried() -> None:
    world = mixed_world(40, 0.5)
    tune(world)
    assert sorted(world.search.texts) == sorted(str(i) for i in range(40))
    assert world.search.wanted == {25}


def test_with_rewrites_as_many_candidates_are_compared_as_a_search_fuses() -> None:
    world = rewritten_world(is_helpful=True)
    tune(world, TuneRequest(with_rewrites=True))
    assert world.search.wanted == {DEPTH}


def test_the_value_of_a_mode_is_that_of_searching_in_it() -> None:
    from core.quality import QualityLimits, QualityRequest, QualityService

    world = mixed_world(40, 0.4, noise=0.2)
    values = dict(tune(world).settings)
    measured = QualityService(world.judged_search(), QualityLimits()).measure("news", QualityRequest())
    by_mode = {mode.mode: mode.measures["nDCG@10"] for mode in measured.modes}
    assert values[Setting("dense")] == pytest.approx(by_mode["dense"])
    assert values[Setting("lexical")] == pytest.approx(by_mode["lexical"])
    assert values[Setting("hybrid", Fusion())] == pytest.approx(by_mode["hybrid"])


def test_too_few_queries_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(Conflict, match="19 judged queries that can be measured; tuning on fewer than 20"):
        tune(mixed_world(19, 0.5))
    assert tune(mixed_world(20, 0.5)).queries == 20


def test_a_server_without_lexical_search_says_so() -> None:
    with pytest.raises(InvalidInput, match="no mode 'lexical'"):
        service(mixed_world(30, 0.5), ("dense",)).tune("news", TuneRequest())


@pytest.mark.parametrize("count", [-1, 0, 1, 11])
def test_a_bad_number_of_folds_is_refused(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"folds is {count}; it must be 2 to 10"):
        tune(mixed_world(30, 0.5), TuneRequest(folds=count))


def test_tuning_waits_for_no_other_measurement() -> None:
    tuning = service(mixed_world(30, 0.5))
    with tuning.judged_search.measuring(), pytest.raises(Overloaded):
        tuning.tune("news", TuneRequest())


@given(st.integers(20, 200), st.integers(2, 10), st.integers(0, 2**32 - 1))
def test_folds_are_of_about_equal_size_and_the_same_for_a_seed(n: int, count: int, seed: int) -> None:
    sizes = np.bincount(folds(n, count, seed), minlength=count)
    assert sizes.sum() == n
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(folds(n, count, seed), folds(n, count, seed))


def test_equal_settings_leave_the_present_one() -> None:
    values = np.array([[0.1, 0.2], [0.3, 0.1], [0.1, 0.3]])
    assert [best(values, present) for present in range(3)] == [1, 1, 2]


@pytest.mark.parametrize("setting", settings_with(Setting("hybrid", Fusion("convex", 0.65))))
def test_a_stored_choice_is_the_present_setting_next_time(setting: Setting) -> None:
    for default_mode in MODES:
        assert setting_of(applied(setting, SearchDefaults()), default_mode) == setting


def test_the_present_setting_is_tried_once() -> None:
    assert (
        len(settings_with(Setting("hybrid", Fusion("convex", 0.65))))
        == len(set(settings_with(Setting("dense")))) + 1
    )


def test_what_a_collection_leaves_open_is_the_default() -> None:
    assert fusion_of(SearchDefaults()) == Fusion()
    assert fusion_of(SearchDefaults(fusion_method="rrf")) == Fusion("rrf")
    assert fusion_of(SearchDefaults(dense_weight=0.0)) == Fusion(dense_weight=0.0)


def rewritten_world(is_helpful: bool) -> JudgedWorld:
    """Half of the queries find nothing in their own words; a rewrite of them finds it, if that is to help.

    Otherwise all queries have rewrites that find anything.
    """
    world = mixed_world(100, weight=0.8)
    documents = world.search.dense.shape[1]
    rng = np.random.default_rng(1)
    lost = rng.random((2, 50, documents))
    good = world.search.dense[:50].copy(), world.search.lexical[:50].copy()
    world.search.dense[:50], world.search.lexical[:50] = lost
    rewrites = good if is_helpful else rng.random((2, 100, documents))
    world.search.dense = np.concatenate([world.search.dense, rewrites[0]])
    world.search.lexical = np.concatenate([world.search.lexical, rewrites[1]])
    world.rewriter.known = {str(i): [str(100 + i)] for i in range(len(rewrites[0]))}
    return world


def test_rewrites_become_the_default_where_the_judgements_show_that_they_help() -> None:
    world = rewritten_world(is_helpful=True)
    report = tune(world, TuneRequest(is_applied=True, with_rewrites=True))
    assert report.chosen.is_rewritten
    assert (report.is_better, report.is_applied) == (True, True)
    assert world.collection.search.rewrite is True
    again = tune(world)
    assert again.present == report.chosen
    assert not again.is_better


def test_rewrites_that_do_not_help_are_not_chosen() -> None:
    world = rewritten_world(is_helpful=False)
    report = tune(world, TuneRequest(is_applied=True, with_rewrites=True))
    assert any(setting.is_rewritten for setting, _ in report.settings)
    assert not report.chosen.is_rewritten
    assert world.collection.search.rewrite is None


def test_rewrites_are_not_tried_unless_asked_for() -> None:
    world = rewritten_world(is_helpful=True)
    world.rewriter.problem = Overloaded("must not be asked")
    assert not any(setting.is_rewritten for setting, _ in tune(world).settings)
    with pytest.raises(Overloaded):
        tune(world, TuneRequest(with_rewrites=True))
