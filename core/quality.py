"""Use case quality: how well a collection's searches rank what is judged relevant, mode by mode."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InvalidInput
from core.judged_search import JudgedSearch, JudgedSet
from core.judgement_types import JudgementCounts
from core.types import Collection, Float64

DEPTH = 100  # of the rankings, for recall@100 and MAP@100


@dataclass(frozen=True, slots=True)
class QualityLimits:
    max_k: int = DEPTH
    max_queries: int = 1_000
    max_rewritten: int = 200  # queries, where each is rewritten
    max_worst: int = 100


@dataclass(frozen=True, slots=True)
class QualityRequest:
    """No modes are all modes. Of more than `queries` judged ones, that many are drawn by `seed`.

    `with_rewrites`: each mode is measured without rewrites of the query, and with them as `<mode>+rewrite`;
    else each is measured as the collection is searched.
    """

    modes: tuple[str, ...] = ()
    k: int = 10
    queries: int = QualityLimits().max_queries
    seed: int = 0
    worst: int = 0
    with_rewrites: bool = False


@dataclass(frozen=True, slots=True)
class WorstQuery:
    """A query with its nDCG@k, the relevant documents, best grade first, and the first k found."""

    query: str
    value: float
    relevant: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModeQuality:
    """Means over the queries. `p` is of the hypothesis that nDCG@k is that of the best mode."""

    mode: str
    measures: Mapping[str, float]
    p: float
    worst: tuple[WorstQuery, ...]


@dataclass(frozen=True, slots=True)
class QualityReport:
    """`measured` of the judged queries were run; `seq` is the oldest of the log that any of them saw."""

    collection: Collection
    index_kind: str
    seq: int
    k: int
    seed: int
    counts: JudgementCounts
    measured: int
    modes: tuple[ModeQuality, ...]
    took_s: float

    @property
    def best(self) -> str:
        """The mode of the highest nDCG@k; of equal ones the first."""
        return max(self.modes, key=lambda quality: quality.measures[ndcg(self.k)]).mode


def ndcg(k: int) -> str:
    """The name of the measure by which modes are compared."""
    return f"nDCG@{k}"


@dataclass(frozen=True, slots=True)
class QualityService:
    judged_search: JudgedSearch
    limits: QualityLimits

    def measure(self, name: str, request: QualityRequest) -> QualityReport:
        """Runs the judged queries in each mode and measures what they find.

        Documents that are not searchable now count neither as relevant nor as missed. Raises InvalidInput,
        NotFound, Conflict when nothing can be measured, Overloaded while another measurement runs.
        """
        modes = self._check(request)
        with self.judged_search.measuring():
            started_s = time.perf_counter()
            judged = self.judged_search.judged(name, self._count(name, request), request.seed)
            runs = {way.name: self._run(judged, way, request.k) for way in _ways(modes, request)}
            best = max((run.values[ndcg(request.k)] for run in runs.values()), key=_mean)
            return QualityReport(
                collection=judged.collection,
                index_kind=self.judged_search.indexes.stats(judged.collection).kind,
                seq=min(run.seq for run in runs.values()),
                k=request.k,
                seed=request.seed,
                counts=judged.counts,
                measured=len(judged.queries),
                modes=tuple(self._quality(judged, run, best, request) for run in runs.values()),
                took_s=time.perf_counter() - started_s,
            )

    def _count(self, name: str, request: QualityRequest) -> int:
        """How many queries are run: fewer where each is rewritten, for this once or by default."""
        search = self.judged_search.collections.open(name).search
        is_rewritten = request.with_rewrites or search.rewrite
        return min(request.queries, self.limits.max_rewritten) if is_rewritten else request.queries

    def _run(self, judged: JudgedSet, way: _Way, k: int) -> _Run:
        rankings, seqs = [], []
        for result in self.judged_search.results(judged, way.mode, max(k, DEPTH), way.rewrite):
            rankings.append([hit.passage.external_id for hit in result.hits])
            seqs.append(result.seq)
        names = _measures(k)
        relevance = [query.relevance for query in judged.queries]
        found = self.judged_search.scorer.values(list(names.values()), relevance, rankings)
        return _Run(way.name, rankings, {shown: found[name] for shown, name in names.items()}, min(seqs))

    def _quality(self, judged: JudgedSet, run: _Run, best: Float64, request: QualityRequest) -> ModeQuality:
        values = run.values[ndcg(request.k)]
        worst = np.argsort(values, kind="stable")[: request.worst].tolist()
        return ModeQuality(
            mode=run.mode,
            measures={name: _mean(values) for name, values in run.values.items()},
            p=self.judged_search.scorer.p_value(values, best),
            worst=tuple(_told(judged, run, i, float(values[i]), request.k) for i in worst),
        )

    def _check(self, request: QualityRequest) -> tuple[str, ...]:
        known, limits = self.judged_search.modes, self.limits
        for mode in request.modes:
            if mode not in known:
                raise InvalidInput(f"mode {mode!r} is not available; use {' or '.join(known)}.")
        for name, value, least, most in (
            ("k", request.k, 1, limits.max_k),
            ("queries", request.queries, 1, limits.max_queries),
            ("worst", request.worst, 0, limits.max_worst),
        ):
            if not least <= value <= most:
                raise InvalidInput(f"{name} is {value}; it must be {least} to {most:,}.")
        return tuple(dict.fromkeys(request.modes)) or known


@dataclass(frozen=True, slots=True)
class _Way:
    """A mode, and whether rewrites of the query are searched for too; None as the collection says."""

    mode: str
    rewrite: bool | None

    @property
    def name(self) -> str:
        return f"{self.mode}+rewrite" if self.rewrite else self.mode


def _ways(modes: Sequence[str], request: QualityRequest) -> list[_Way]:
    rewrites = (False, True) if request.with_rewrites else (None,)
    return [_Way(mode, rewrite) for mode in modes for rewrite in rewrites]


@dataclass(frozen=True, slots=True)
class _Run:
    """Rankings of all queries in one mode, and each measure's value (n,) for each of them."""

    mode: str
    rankings: Sequence[Sequence[str]]
    values: Mapping[str, Float64]
    seq: int


def _measures(k: int) -> dict[str, str]:
    """The names shown -> the names that ir-measures gives them; the same as those of `cognate eval`."""
    return {
        ndcg(k): f"nDCG@{k}",
        f"recall@{k}": f"R@{k}",
        f"recall@{DEPTH}": f"R@{DEPTH}",
        f"MRR@{k}": f"RR@{k}",
        f"MAP@{DEPTH}": f"AP@{DEPTH}",
    }


def _told(judged: JudgedSet, run: _Run, i: int, value: float, k: int) -> WorstQuery:
    query = judged.queries[i]
    grades = sorted(query.relevance.items(), key=lambda item: -item[1])
    relevant = tuple(external_id for external_id, grade in grades if grade)
    return WorstQuery(query.text, value, relevant, tuple(run.rankings[i][:k]))


def _mean(values: Float64) -> float:
    return float(values.mean())
