"""Quality by mode: known rankings, bounds, and a search that users' searches go before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from core.errors import Conflict, InvalidInput, Overloaded
from core.judged_search import SEARCHES_A_BATCH, BulkEncoder
from core.judgement_types import JudgedQuery
from core.quality import QualityLimits, QualityReport, QualityRequest, QualityService
from core.types import Float32, Lane, SearchDefaults
from evaluation.retrieval import measure_rankings
from tests.core.judged_world import MODES, SEQ, JudgedWorld, RankedSearch, mixed_world
from tests.fakes import FakeEncoder


def measure(world: JudgedWorld, request: QualityRequest | None = None) -> QualityReport:
    service = QualityService(world.judged_search(), QualityLimits())
    return service.measure("news", request or QualityRequest())


def opposites() -> JudgedWorld:
    """Dense ranks d0 first and lexical ranks it last, of 30 documents."""
    falling = np.tile(np.linspace(1, 0.1, 30), (20, 1))
    queries = [JudgedQuery(str(i), {"d0": 2}) for i in range(20)]
    return JudgedWorld(RankedSearch(falling, falling[:, ::-1]), queries)


def test_a_mode_that_finds_all_first_is_told_from_one_that_finds_all_last() -> None:
    report = measure(opposites(), QualityRequest(("dense", "lexical")))
    dense, lexical = report.modes
    assert set(dense.measures.values()) == {1.0}
    assert lexical.measures == pytest.approx(
        {"nDCG@10": 0, "recall@10": 0, "recall@100": 1, "MRR@10": 0, "MAP@100": 1 / 30}
    )
    assert (report.best, dense.p) == ("dense", 1.0)
    assert lexical.p < 0.001
    assert (report.measured, report.counts.queries, report.seq, report.index_kind) == (20, 22, SEQ, "Flat")


def test_the_order_before_reranking_is_measured_where_the_collection_reranks() -> None:
    world = mixed_world(10, 0.5)
    plain = measure(world)
    world.search.is_reranked = True
    assert [one.measures for one in measure(world).modes] == [one.measures for one in plain.modes]


def test_values_are_those_of_the_evaluation_command() -> None:
    world = mixed_world(30, weight=0.5, noise=0.3)
    report = measure(world, QualityRequest(("dense",)))
    rankings = {
        str(i): [f"d{j}" for j in np.argsort(-world.search.dense[i], kind="stable").tolist()]
        for i in range(30)
    }
    theirs = measure_rankings({query.text: dict(query.relevance) for query in world.queries}, rankings)
    ours = report.modes[0].measures
    expected = {measure.name: measure.value for measure in theirs}
    for name in ("nDCG@10", "recall@100", "MRR@10"):
        assert 0 < ours[name] == pytest.approx(expected[name])


@pytest.mark.parametrize("is_default", [False, True])
def test_fewer_queries_are_run_where_the_collection_rewrites_each(is_default: bool) -> None:
    world = mixed_world(30, 0.5)
    world.change("news", None, SearchDefaults(rewrite=is_default or None))
    service = QualityService(world.judged_search(), QualityLimits(max_rewritten=12))
    report = service.measure("news", QualityRequest(("dense",)))
    assert report.measured == (12 if is_default else 30)
    assert set(world.search.asked) == {("dense", None)}


def test_all_modes_are_measured_unless_some_are_named_each_once() -> None:
    world = mixed_world(5, 0.5)
    assert tuple(mode.mode for mode in measure(world).modes) == MODES
    named = measure(world, QualityRequest(("lexical", "dense", "lexical")))
    assert [mode.mode for mode in named.modes] == ["lexical", "dense"]


def test_measures_follow_k_and_name_each_thing_once() -> None:
    assert set(measure(opposites(), QualityRequest(k=5)).modes[0].measures) == {
        "nDCG@5", "recall@5", "recall@100", "MRR@5", "MAP@100"
    }  # fmt: skip
    assert set(measure(opposites(), QualityRequest(k=100)).modes[0].measures) == {
        "nDCG@100", "recall@100", "MRR@100", "MAP@100"
    }  # fmt: skip


def test_searches_come_in_small_batches() -> None:
    world = mixed_world(SEARCHES_A_BATCH + 5, 0.5)
    measure(world, QualityRequest(("dense",)))
    assert [len(batch) for batch in world.search.batches] == [SEARCHES_A_BATCH, 5]


def test_the_worst_queries_are_listed_with_what_was_wanted_and_found() -> None:
    world = opposites()
    world.queries[3] = JudgedQuery("3", {"d29": 1, "d5": 3, "d1": 0})
    (dense,) = measure(world, QualityRequest(("dense",), k=3, worst=2)).modes
    assert [worst.query for worst in dense.worst] == ["3", "0"]
    assert (dense.worst[0].value, dense.worst[1].value) == (0.0, 1.0)
    assert dense.worst[0].relevant == ("d5", "d29")
    assert dense.worst[0].found == ("d0", "d1", "d2")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (QualityRequest(("sparse",)), "mode 'sparse' is not available; use hybrid or dense or lexical"),
        (QualityRequest(("",)), "mode '' is not available"),
        (QualityRequest(k=0), "k is 0; it must be 1 to 100"),
        (QualityRequest(k=101), "k is 101"),
        (QualityRequest(queries=0), "queries is 0"),
        (QualityRequest(queries=1_001), "1 to 1,000"),
        (QualityRequest(worst=-1), "worst is -1"),
        (QualityRequest(worst=101), "0 to 100"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_searched(request_: QualityRequest, words: str) -> None:
    world = mixed_world(5, 0.5)
    with pytest.raises(InvalidInput, match=words):
        measure(world, request_)
    assert world.search.batches == []


def test_nothing_to_measure_says_what_to_do() -> None:
    world = replace(mixed_world(5, 0.5), queries=[])
    with pytest.raises(
        Conflict, match=r"2 judged queries, none with .*3 judged .*PUT /v1/collections/news/j"
    ):
        measure(world)


def test_measurements_come_one_at_a_time_and_the_turn_is_given_back() -> None:
    world = mixed_world(5, 0.5)
    service = QualityService(world.judged_search(), QualityLimits())
    with service.judged_search.measuring(), pytest.raises(Overloaded, match="retry"):
        service.measure("news", QualityRequest())
    for _ in range(2):
        assert service.measure("news", QualityRequest()).measured == 5


@dataclass
class LaneEncoder(FakeEncoder):
    lanes: list[Lane] = field(default_factory=list)

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        self.lanes.append(lane)
        return super().encode_queries(texts, lane)


def test_judged_queries_are_encoded_in_the_bulk_lane() -> None:
    encoder = LaneEncoder()
    bulk = BulkEncoder(encoder)
    assert np.array_equal(bulk.encode_queries(["a b"]), encoder.encode_queries(["a b"]))
    assert encoder.lanes == [Lane.BULK, Lane.INTERACTIVE]
    assert bulk.info == encoder.info


def test_each_mode_is_measured_without_rewrites_and_with_them_when_asked() -> None:
    world = mixed_world(20, 0.5)
    report = measure(world, QualityRequest(("dense", "lexical"), with_rewrites=True))
    assert [mode.mode for mode in report.modes] == ["dense", "dense+rewrite", "lexical", "lexical+rewrite"]
    assert [rewrite for _, rewrite in world.search.asked] == [False, False, True, True] * 2
    measure(world, QualityRequest(("dense",)))
    assert world.search.asked[-1] == ("dense", None)
