"""Indexes beside a GPU: where there is none, another index plays the copy on it."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from core.types import Float32, Int64
from indexer import gpu, main_index
from indexer.exact import Alive
from indexer.main_index import Build, MainIndex, build_main, extend_main
from indexer.vector_index import Segment, View
from tests.indexer.fakes import assert_same_hits, clustered_rows

D = 16
KINDS = ["Flat", "IVF64,Flat", "IVF64,SQ8", "IVF64,PQ8"]


class Device:
    """Counts the copies it is given, and takes none while it is full."""

    def __init__(self) -> None:
        self.copies = 0
        self.is_full = False

    def take(self, _resources: object, _device: int, index: Any) -> Any:
        if self.is_full:
            raise RuntimeError("out of memory")
        self.copies += 1
        return faiss.clone_index(index)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", device.take, raising=False)
    return device


def main_of(setting: str, n: int) -> MainIndex:
    vectors = clustered_rows(np.random.default_rng(0), n, D).astype(np.float16)
    ids = np.arange(n)
    return build_main(vectors, ids + 7, ids // 2, Build(setting))


def found(main: MainIndex, alive: Alive | None = None) -> list[Any]:
    view = View(1, D, (Segment(main, alive or Alive(np.ones(main.n, dtype=np.bool_))),))
    queries = clustered_rows(np.random.default_rng(1), 30, D).astype(np.float32)
    return view.search(queries, 10)


@pytest.mark.slow
@pytest.mark.parametrize("setting", KINDS)
def test_a_copy_on_a_gpu_finds_what_the_index_finds(
    setting: str, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = main_of(setting, 12_000)
    assert main.gpu is not None
    assert device.copies == 1
    asked: list[int] = []
    search = main.gpu.search

    def noted(_: gpu.GpuCopy, xq: Float32, k: int, probes: int) -> tuple[Float32, Int64]:
        asked.append(k)
        return search(xq, k, probes)

    monkeypatch.setattr(gpu.GpuCopy, "search", noted)
    on_gpu = found(main)
    assert asked
    alone = MainIndex(
        main.factory, main.index, main.vectors, main.passage_ids, main.document_ids, main.trained_rows
    )
    for hits, expected in zip(on_gpu, found(alone), strict=True):
        assert_same_hits(hits, expected)


def test_a_search_among_some_rows_stays_on_the_processor(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = main_of("IVF64,Flat", 12_000)
    monkeypatch.setattr(gpu.GpuCopy, "search", lambda *_: pytest.fail("the GPU knows no filters"))
    some = Alive(np.arange(main.n) % 3 > 0)
    assert all(len(hits) == 10 for hits in found(main, some))


def test_a_search_of_more_lists_than_a_gpu_chooses_stays_on_the_processor(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = main_of("IVF64,Flat", 12_000)
    most = main.ann.probes
    monkeypatch.setattr(gpu.GpuCopy, "search", lambda *_: pytest.fail("FAISS would refuse"))
    monkeypatch.setattr(main_index, "MOST_CHOSEN", most - 1)
    assert most - 1 > 10
    every = Alive(np.ones(main.n, dtype=np.bool_))
    _, rows = main.search(np.eye(3, D, dtype=np.float32), 10, every)
    assert rows.shape == (3, 10)


def test_an_index_that_grows_is_copied_again(device: Device) -> None:
    main = main_of("Flat", 100)
    more = np.eye(3, D, dtype=np.float32)
    grown = extend_main(main, more, np.arange(3) + 900, np.arange(3) + 900, Build("Flat"))
    assert device.copies == 2
    assert grown.gpu is not None
    assert found(grown)


def test_without_room_on_the_device_the_processor_searches(device: Device) -> None:
    device.is_full = True
    main = main_of("Flat", 100)
    assert main.gpu is None
    assert all(len(hits) == 10 for hits in found(main))


def test_graphs_and_machines_without_a_gpu_have_no_copy(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main_of("HNSW16", 12_000).gpu is None
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert main_of("Flat", 100).gpu is None
    assert not device.copies
