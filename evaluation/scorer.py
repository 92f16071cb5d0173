"""core.ports.RankingScorer: measures of the service's own rankings, computed by ir-measures (trec_eval)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.types import Float64
from evaluation.significance import p_value_of_differences


class IrScorer:
    """The same numbers as `evaluation.retrieval`. The library is loaded when something is first measured."""

    def values(
        self,
        measures: Sequence[str],
        relevance: Sequence[Mapping[str, int]],
        rankings: Sequence[Sequence[str]],
    ) -> dict[str, Float64]:
        """Measure -> its value (n,) for each of n queries, from judged grades and ranked ids, best first.

        The gain of nDCG is the grade itself; a grade above 0 is relevant to the others. A query without
        ranking counts as 0.
        """
        import ir_measures

        parsed = {ir_measures.parse_measure(name): name for name in measures}
        found = {name: np.zeros(len(relevance)) for name in measures}
        qrels = {str(i): dict(grades) for i, grades in enumerate(relevance)}
        # Only the order matters, so scores are ranks: trec_eval would break ties by document id.
        run = {
            str(i): {document: -float(rank) for rank, document in enumerate(ranking)}
            for i, ranking in enumerate(rankings)
            if ranking
        }
        for value in ir_measures.iter_calc(list(parsed), qrels, run):
            found[parsed[value.measure]][int(value.query_id)] = value.value
        return found

    def p_value(self, ours: Float64, theirs: Float64) -> float:
        """Of the hypothesis that two systems, measured (n,) and (n,) on the same queries, do not differ."""
        return p_value_of_differences(ours - theirs)
