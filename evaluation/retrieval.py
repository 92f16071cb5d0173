"""Retrieval: nDCG@10, recall@100, MAP and MRR@10 of a ranking, computed by ir-measures (trec_eval)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ir_measures
from ir_measures import AP, RR, R, nDCG

from evaluation.datasets import RetrievalSet
from evaluation.results import Measure, Result
from evaluation.systems import Progress, System

DEPTH = 1000
MEASURES = {"nDCG@10": nDCG @ 10, "recall@100": R @ 100, f"MAP@{DEPTH}": AP @ DEPTH, "MRR@10": RR @ 10}


def evaluate_retrieval(data: RetrievalSet, system: System, progress: Progress) -> Result:
    """Ranks the whole corpus for each query and keeps the best 1,000, where MAP is cut."""
    rankings, notes = system.rank(data.corpus, data.queries, DEPTH, progress)
    ranked = {query.id: ranking for query, ranking in zip(data.queries, rankings, strict=True)}
    return Result(data.name, "retrieval", measure_rankings(data.judgements, ranked), (*data.notes, *notes))


def measure_rankings(
    judgements: Mapping[str, Mapping[str, int]], rankings: Mapping[str, Sequence[str]]
) -> tuple[Measure, ...]:
    """Means over the queries of `judgements`, with the value of each query.

    The gain of nDCG is the judged grade itself (as in trec_eval and BEIR, not 2^grade - 1); a grade above 0
    is relevant to the others. A query without ranking counts as 0.
    """
    # Only the order matters, so scores are ranks: trec_eval would break ties by document id.
    run = {
        query: {document: -float(rank) for rank, document in enumerate(ranking)}
        for query, ranking in rankings.items()
        if ranking
    }
    per_query: dict[str, dict[str, float]] = {name: dict.fromkeys(judgements, 0.0) for name in MEASURES}
    qrels = {query: dict(gains) for query, gains in judgements.items()}
    names = {measure: name for name, measure in MEASURES.items()}
    for found in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
        per_query[names[found.measure]][found.query_id] = float(found.value)
    return tuple(
        Measure(name, sum(values.values()) / len(values), items=values) for name, values in per_query.items()
    )
