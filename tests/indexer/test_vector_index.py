"""Views, the parts below them, and the choice of FAISS index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import EncoderMismatch, InvalidInput
from core.types import Float16, Float32, Int64
from indexer import factory
from indexer.delta import DeltaBuffer
from indexer.exact import Alive, search_exactly
from indexer.factory import FLAT_LIMIT, HNSW_LIMIT, check_index_kind, choose_factory
from indexer.main_index import Build, BuildCancelled, MainIndex, build_main, empty_main, extend_main
from indexer.recall import Sample
from indexer.vector_index import Segment, View
from tests.indexer.fakes import assert_same_hits, brute_force, clustered_rows, unit_rows

D = 16


def all_alive(n: int) -> Alive:
    return Alive(np.ones(n, dtype=np.bool_))


def main_of(vectors: Float32 | Float16, setting: str = "auto", passages_a_document: int = 1) -> MainIndex:
    ids = np.arange(len(vectors))
    return build_main(vectors, ids + 1000, ids // passages_a_document, Build(setting))


def view_of(main: MainIndex, alive: Alive | None = None) -> View:
    return View(7, main.vectors.shape[1], (Segment(main, alive or all_alive(main.n)),))


def rows_of(main: MainIndex, alive: Alive) -> tuple[Float32, Int64, Int64]:
    mask = alive.mask
    return main.vectors[mask].astype(np.float32), main.passage_ids[mask], main.document_ids[mask]


@pytest.mark.parametrize("passages_a_document", [1, 3, 40, 600])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_a_flat_view_equals_brute_force(passages_a_document: int, k: int) -> None:
    rng = np.random.default_rng(0)
    main = main_of(unit_rows(rng, 2500, D), passages_a_document=passages_a_document)
    alive = Alive(rng.random(main.n) < 0.7)
    queries = unit_rows(rng, 25, D).astype(np.float32)
    found = view_of(main, alive).search(queries, k)
    for query, hits in zip(queries, found, strict=True):
        assert_same_hits(hits, brute_force(rows_of(main, alive), query, k))


def test_main_and_delta_are_searched_together() -> None:
    rng = np.random.default_rng(1)
    vectors = unit_rows(rng, 300, D)
    main, buffer = main_of(vectors[:200]), DeltaBuffer(D)
    buffer.append(vectors[200:], np.arange(200, 300) + 1000, np.arange(200, 300))
    view = View(1, D, (Segment(main, all_alive(200)), Segment(buffer.rows(), all_alive(100))))
    query = unit_rows(rng, 1, D).astype(np.float32)
    ids = np.arange(300)
    expected = brute_force((vectors.astype(np.float32), ids + 1000, ids), query[0], 20)
    assert_same_hits(view.search(query, 20)[0], expected)


def test_equal_scores_are_ordered_by_passage_id_however_many_there_are() -> None:
    vectors = np.tile(np.eye(1, D, dtype=np.float32), (3000, 1))
    ids = np.random.default_rng(0).permutation(3000)
    view = view_of(build_main(vectors, ids, ids, Build("auto")))
    hits = view.search(vectors[:1], 7)[0]
    assert [hit.passage_id for hit in hits] == [0, 1, 2, 3, 4, 5, 6]


def test_k_documents_come_back_though_one_document_owns_the_nearest_thousands_of_passages() -> None:
    near = np.tile(np.eye(1, D, dtype=np.float32), (5000, 1))
    far = -near[:5]
    documents = np.concatenate([np.zeros(5000, dtype=np.int64), np.arange(1, 6)])
    view = view_of(build_main(np.concatenate([near, far]), np.arange(5005), documents, Build("auto")))
    assert [hit.document_id for hit in view.search(near[:1], 4)[0]] == [0, 1, 2, 3]
    assert len(view.search(near[:1], 50)[0]) == 6


@pytest.mark.parametrize("n", [0, 1, 3])
def test_fewer_documents_than_k_all_come_back(n: int) -> None:
    vectors = unit_rows(np.random.default_rng(0), n, D).astype(np.float32)
    query = np.eye(1, D, dtype=np.float32)
    assert len(view_of(main_of(vectors)).search(query, 10**9)[0]) == n
    assert view_of(main_of(vectors)).search(query[:0], 5) == []


def test_a_view_without_living_rows_finds_nothing() -> None:
    main = main_of(unit_rows(np.random.default_rng(0), 5, D))
    assert view_of(main, Alive(np.zeros(5, dtype=np.bool_))).search(np.eye(2, D, dtype=np.float32), 3) == [
        [],
        [],
    ]


def test_vectors_of_another_dimension_are_refused() -> None:
    with pytest.raises(EncoderMismatch, match="d=16"):
        view_of(empty_main(D)).search(np.zeros((1, 8), dtype=np.float32), 3)


def test_bad_queries_are_refused() -> None:
    view = view_of(empty_main(D))
    with pytest.raises(InvalidInput, match="k is 0"):
        view.search(np.zeros((1, D), dtype=np.float32), 0)
    with pytest.raises(InvalidInput, match="NaN"):
        view.search(np.full((1, D), np.nan, dtype=np.float32), 1)


def test_appending_to_a_buffer_leaves_published_rows_untouched() -> None:
    buffer = DeltaBuffer(D)
    vectors = unit_rows(np.random.default_rng(0), 2000, D).astype(np.float32)
    published = []
    for i in range(0, 2000, 50):
        buffer.append(vectors[i : i + 50], np.arange(i, i + 50), i)
        published.append(buffer.rows())
    for count, rows in enumerate(published, start=1):
        assert rows.n == 50 * count
        np.testing.assert_array_equal(rows.vectors, vectors[: rows.n])


@pytest.mark.parametrize(
    "setting", ["auto", "Flat", "HNSW16", "SQ8", "IVF16,Flat", "HNSW16,SQ8", "PCA8,Flat", "PCA8,IVF8,SQ8",
     "IVF16,PQ8x4fs", "RaBitQ", "RaBitQ4", "IVF16,RaBitQ", "RR16,IVF16,RaBitQ4",
     "IVF16,RaBitQfs", "IVF16,RaBitQfs4"],
)  # fmt: skip
def test_every_kind_grows_filters_and_returns_exact_scores(setting: str) -> None:
    rng = np.random.default_rng(2)
    vectors = clustered_rows(rng, 12_000, D).astype(np.float16)
    main = main_of(vectors[:11_000], setting)
    assert main.factory == ("Flat" if setting == "auto" else setting)
    grown = extend_main(
        main, vectors[11_000:].astype(np.float32), np.arange(11_000, 12_000) + 1000,
        np.arange(11_000, 12_000), Build(setting),
    )  # fmt: skip
    assert (main.n, grown.n) == (11_000, 12_000)
    assert grown.bytes > main.bytes > 11_000 * D
    alive = Alive(rng.random(12_000) < 0.8)
    queries = vectors[:40].astype(np.float32)
    for query, hits in zip(queries, view_of(grown, alive).search(queries, 10), strict=True):
        assert len(hits) == 10
        for hit in hits:
            assert alive.mask[hit.document_id]
            assert hit.score == pytest.approx(
                float(vectors[hit.document_id].astype(np.float32) @ query), abs=1e-5
            )
    is_coarse = "PCA" in setting or setting.endswith(("RaBitQ", "RaBitQfs", "x4fs"))
    assert Sample.of(grown, alive).recall(grown) > (0.5 if is_coarse else 0.9)


def test_an_index_that_must_be_trained_is_exact_until_it_can_be() -> None:
    assert choose_factory("IVF64,PQ8", 9_000, D) == "Flat"
    assert choose_factory("IVF64,PQ8", 10_000, D) == "IVF64,PQ8"


def test_the_kind_follows_the_size() -> None:
    assert choose_factory("auto", FLAT_LIMIT, D) == "Flat"
    assert choose_factory("auto", FLAT_LIMIT + 1, D) == "HNSW32"
    assert choose_factory("auto", HNSW_LIMIT, 384) == "HNSW32"
    assert choose_factory("auto", HNSW_LIMIT + 1, 384) == "IVF1024,PQ192x4fs"
    assert choose_factory("auto", 10**9, 384) == "IVF65536,PQ192x4fs"
    assert choose_factory("auto", 5 * 10**6, 15) == "IVF4096,SQ8"


@pytest.mark.parametrize("d", [1, 2, 15, 16, 384, 768])
def test_what_is_chosen_by_size_can_be_made(d: int) -> None:
    for rows in (1, FLAT_LIMIT + 1, HNSW_LIMIT + 1, 10**8):
        check_index_kind(choose_factory("auto", rows, d), d)


@pytest.mark.parametrize(
    "setting",
    [
        "auto", "Flat", "HNSW4", "HNSW32", "HNSW64,SQ8", "HNSW16,Flat", "IVF1,Flat", "IVF65536,SQfp16",
        "IVF256,PQ8", "IVF256,PQ8x4fs", "OPQ8,IVF256,PQ8", "OPQ8_32,IVF256,PQ8", "PCAR32,Flat", "SQfp16",
        "RaBitQ", "RR64,IVF16,RaBitQ", "IVF16,RaBitQfs", "IVF16,RaBitQ8",
    ],
)  # fmt: skip
def test_usable_factories_are_accepted(setting: str) -> None:
    check_index_kind(setting, 64)


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "bogus",
        "LSH",
        "IDMap,Flat",
        "PQ8",
        "NSG32",
        "PQ8x4fs",
        "Flat,RFlat",
        "PQ7",
        "x" * 500,
        "RaBitQfs",
        "HNSW16,RaBitQ",
    ],
)
def test_unusable_factories_are_refused_with_advice(setting: str) -> None:
    with pytest.raises(InvalidInput, match="index") as refused:
        check_index_kind(setting, 64)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("HNSW3", "4 to 64"), ("HNSW65", "4 to 64"), ("HNSW99999,SQ8", "4 to 64"),
        ("IVF0,Flat", "1 to 65,536"), ("IVF65537,Flat", "1 to 65,536"), ("IVF999999999,SQ8", "65,536"),
        ("IVF64_HNSW32,Flat", "form"), ("IVF64(IVF64,Flat),Flat", "form"), ("IMI2x8,Flat", "form"),
        ("Residual2x8,Flat", "form"), ("PCA8,PCA4,Flat", "form"), ("HNSW999999", "form"),
        ("IVF9999999999,Flat", "form"), ("HNSW٣٢", "form"), ("IVF16,PQ8x16", "form"), ("PCA8_4,Flat", "form"),
        ("RR0,SQ6", "1 to 64"), ("PCAR0,Flat", "1 to 64"), ("PCA65,HNSW32", "1 to 64"),
        ("OPQ4_0,SQ8", "1 to 64"), ("RR99990,Flat", "1 to 64"), ("OPQ8_72,IVF1,SQ8", "1 to 64"),
        ("RR19998,IVF1,PQ9999x12", "1 to 64"),
        ("OPQ0,Flat", "divisor"), ("OPQ7,IVF1,SQ8", "vectors, 64"), ("OPQ4_18,SQ8", "vectors, 18"),
        ("HNSW16,PQ0", "divisor"), ("IVF1,PQ9999x12", "divisor"), ("PCA9,IVF1,PQ8x4fs", "vectors, 9"),
        ("PCAW16,Flat", "no form"), ("PCAWR16,SQ8", "no form"),
    ],
)  # fmt: skip
def test_factories_out_of_bounds_never_reach_faiss(
    setting: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "new_index", lambda *_: pytest.fail("FAISS was asked"))
    with pytest.raises(InvalidInput, match=words):
        check_index_kind(setting, 64)


SMALLEST_AND_ODD = [
    "RR1,SQ6", "RR15,HNSW4,SQ4", "PCA1,Flat", "PCAR1,RaBitQ", "PCA16,SQfp16", "PCAR3,IVF1,SQ6", "RaBitQ9",
    "PCA3,IVF2,RaBitQfs3", "PCA1,HNSW4,PQ1x4", "PCA1,IVF2,PQ1x4fs", "IVF1,PQ16x4fsr", "IVF2,PQ2x4np",
    "OPQ1_1,Flat", "SQbf16",
]  # fmt: skip
BUILD = """
import sys
import numpy as np
from indexer.factory import check_index_kind
from indexer.main_index import Build, build_main

rows, ids = np.random.default_rng(0).standard_normal((10_000, 16), dtype=np.float32), np.arange(10_000)
for setting in sys.argv[1:]:
    check_index_kind(setting, 16)
    print(build_main(rows, ids, ids, Build(setting)).factory)
"""


def test_what_is_accepted_at_the_edges_can_be_built() -> None:
    child = subprocess.run(  # which a wrong number would end
        [sys.executable, "-c", BUILD, *SMALLEST_AND_ODD],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (child.returncode, child.stdout.split()) == (0, SMALLEST_AND_ODD), child.stderr[-2000:]


def test_an_index_is_made_once_to_know_how_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = factory.new_index

    def counted(setting: str, d: int) -> object:
        made.append(setting)
        return make(setting, d)

    monkeypatch.setattr(factory, "new_index", counted)
    assert {choose_factory("IVF63,PQ4", rows, 24) for rows in range(100)} == {"Flat"}
    assert made == ["IVF63,PQ4"]


def test_hnsw_finds_at_least_95_percent_of_25_000_clustered_vectors() -> None:
    main = main_of(clustered_rows(np.random.default_rng(3), 25_000, D))
    assert main.factory == "HNSW32"
    assert Sample.of(main, all_alive(main.n)).recall(main) >= 0.95


def test_hnsw_with_hardly_any_row_alive_still_returns_k() -> None:
    rng = np.random.default_rng(4)
    main = main_of(clustered_rows(rng, 3_000, D), "HNSW8")
    mask = np.zeros(3_000, dtype=np.bool_)
    mask[rng.choice(3_000, 12, replace=False)] = True
    alive = Alive(mask)
    queries = clustered_rows(rng, 50, D)
    for query, hits in zip(queries, view_of(main, alive).search(queries, 12), strict=True):
        assert_same_hits(hits, brute_force(rows_of(main, alive), query, 12))


def test_half_precision_rows_are_scanned_as_exactly_as_single_precision() -> None:
    rng = np.random.default_rng(5)
    rows = unit_rows(rng, 40_000, 4)
    alive = Alive(rng.random(40_000) < 0.5)
    queries = unit_rows(rng, 3, 4).astype(np.float32)
    half, half_rows = search_exactly(queries, rows, 9, alive)
    single, single_rows = search_exactly(queries, rows.astype(np.float32), 9, alive)
    np.testing.assert_array_equal(half, single)
    assert (half_rows == single_rows).mean() > 0.9  # equal scores may change places
    assert alive.mask[half_rows].all()


def test_a_build_can_be_given_up() -> None:
    vectors = unit_rows(np.random.default_rng(0), 10, D)
    ids = np.arange(10)
    with pytest.raises(BuildCancelled):
        build_main(vectors, ids, ids, Build("auto", is_cancelled=lambda: True))
