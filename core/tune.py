"""Use case tune: picks a collection's search mode and fusion weight on its judgements, by cross-validation.

The choice is made on some of the queries and measured on the others, in turn (Stone 1974, "Cross-validatory
choice and assessment of statistical predictions"), so the quality told is that of queries not chosen on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.errors import Conflict, InvalidInput
from core.judged_search import JudgedSearch, JudgedSet
from core.quality import ndcg
from core.search_defaults import SearchDefaultsService
from core.search_settings import Setting, applied, found_by, setting_of, settings_with
from core.types import Collection, Float64, Int64

K = 10  # nDCG@10 is what is tuned
LEVEL = 0.05  # of significance, below which a setting counts as better
NEEDED_MODES = ("dense", "lexical", "hybrid")


@dataclass(frozen=True, slots=True)
class TuneLimits:
    min_queries: int = 20
    max_queries: int = 1_000
    max_rewritten: int = 200  # queries, where each is rewritten
    max_folds: int = 10


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """Folds, and which queries are drawn when there are too many, are random by `seed`.

    `with_rewrites`: settings that search for rewrites of the query too are tried, which are generated first.
    """

    folds: int = 5
    seed: int = 0
    is_applied: bool = False
    with_rewrites: bool = False


@dataclass(frozen=True, slots=True)
class Fold:
    """What was chosen on all other queries, and nDCG@10 of it and of the present setting on these."""

    queries: int
    chosen: Setting
    value: float
    present: float


@dataclass(frozen=True, slots=True)
class TuneReport:
    """`value` and `present_value` are of `measure`, out of fold; `settings` are means over all queries.

    `is_better`: the choice differs from the present setting, is better out of fold, and `p` is below 0.05.
    """

    collection: Collection
    measure: str
    queries: int
    settings: tuple[tuple[Setting, float], ...]
    folds: tuple[Fold, ...]
    chosen: Setting
    value: float
    present: Setting
    present_value: float
    p: float
    is_better: bool
    is_applied: bool
    took_s: float


@dataclass(frozen=True, slots=True)
class TuneService:
    judged_search: JudgedSearch
    defaults: SearchDefaultsService
    limits: TuneLimits

    def tune(self, name: str, request: TuneRequest) -> TuneReport:
        """The best setting, and on what evidence; stored as the collection's when asked and it is better.

        Raises InvalidInput, NotFound, Conflict when too few queries can be measured, Overloaded while
        another measurement runs.
        """
        self._check(request)
        with self.judged_search.measuring():
            started_s = time.perf_counter()
            present = setting_of(self._collection(name).search, self.judged_search.modes[0])
            with_rewrites = request.with_rewrites or present.is_rewritten
            judged = self._judged(name, request.seed, with_rewrites)
            settings = settings_with(present, with_rewrites)
            values = self._values(judged, settings, with_rewrites)
        report = self._report(judged, settings, values, present, request, started_s)
        if request.is_applied and report.is_better:
            search = applied(report.chosen, judged.collection.search)
            return replace(report, collection=self.defaults.change(name, None, search), is_applied=True)
        return report

    def _check(self, request: TuneRequest) -> None:
        missing = [mode for mode in NEEDED_MODES if mode not in self.judged_search.modes]
        if missing:
            raise InvalidInput(
                f"Tuning weighs dense against lexical search; this server has no mode {missing[0]!r}."
            )
        if not 2 <= request.folds <= self.limits.max_folds:
            raise InvalidInput(f"folds is {request.folds}; it must be 2 to {self.limits.max_folds}.")

    def _collection(self, name: str) -> Collection:
        return self.judged_search.collections.open(name)

    def _judged(self, name: str, seed: int, with_rewrites: bool) -> JudgedSet:
        limits = self.limits
        count = limits.max_rewritten if with_rewrites else limits.max_queries
        judged = self.judged_search.judged(name, count, seed)
        if len(judged.queries) < self.limits.min_queries:
            raise Conflict(
                f"Collection {name!r} has {len(judged.queries)} judged queries that can be measured; tuning"
                f" on fewer than {self.limits.min_queries} would fit chance. Send more judgements."
            )
        return judged

    def _values(self, judged: JudgedSet, settings: Sequence[Setting], with_rewrites: bool) -> Float64:
        """nDCG@10 (settings, queries)."""
        rankings: list[list[list[str]]] = [[] for _ in settings]
        for of_query in self.judged_search.candidates(
            judged, with_rewrites
        ):  # too large to keep those of all
            for of_setting, setting in zip(rankings, settings, strict=True):
                of_setting.append(found_by(of_query, setting, K))
        relevance = [query.relevance for query in judged.queries]
        scorer = self.judged_search.scorer
        return np.stack([scorer.values([ndcg(K)], relevance, found)[ndcg(K)] for found in rankings])

    def _report(
        self,
        judged: JudgedSet,
        settings: Sequence[Setting],
        values: Float64,
        present: Setting,
        request: TuneRequest,
        started_s: float,
    ) -> TuneReport:
        now = settings.index(present)
        fold_of = folds(values.shape[1], request.folds, request.seed)
        picks = [best(values[:, fold_of != fold], now) for fold in range(request.folds)]
        chosen, before = best(values, now), values[now]  # before: (queries,)
        after = values[np.array(picks)[fold_of], np.arange(values.shape[1])]  # (queries,)
        p = self.judged_search.scorer.p_value(after, before)
        return TuneReport(
            collection=judged.collection,
            measure=ndcg(K),
            queries=len(judged.queries),
            settings=tuple(zip(settings, values.mean(axis=1).tolist(), strict=True)),
            folds=tuple(
                _fold(settings[pick], after[fold_of == fold], before[fold_of == fold])
                for fold, pick in enumerate(picks)
            ),
            chosen=settings[chosen],
            value=float(after.mean()),
            present=present,
            present_value=float(before.mean()),
            p=p,
            is_better=chosen != now and bool(after.mean() > before.mean()) and p < LEVEL,
            is_applied=False,
            took_s=time.perf_counter() - started_s,
        )


def _fold(chosen: Setting, after: Float64, before: Float64) -> Fold:
    return Fold(len(after), chosen, float(after.mean()), float(before.mean()))


def folds(n: int, count: int, seed: int) -> Int64:
    """The fold (n,) of each of n queries: as equal in size as can be, drawn by the seed."""
    return np.random.default_rng(seed).permutation(np.arange(n) % count)


def best(values: Float64, present: int) -> int:
    """The row of `values` (settings, queries) with the greatest mean; the present one if none is greater."""
    means = values.mean(axis=1)
    found = int(means.argmax())
    return present if np.isclose(means[present], means[found], rtol=0, atol=1e-9) else found
