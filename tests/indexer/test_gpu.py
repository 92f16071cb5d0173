"""Indexes beside a GPU: where there is none, another index plays the copy on it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
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


class Resources:
    """Notes what is set aside of the device and of the host."""

    def __init__(self) -> None:
        self.temp_bytes, self.pinned_bytes = 1536 << 20, 256 << 20  # as FAISS has them

    def setTempMemory(self, count: int) -> None:  # noqa: N802
        self.temp_bytes = count

    def setPinnedMemory(self, count: int) -> None:  # noqa: N802
        self.pinned_bytes = count


class Device:
    """Notes the copies it is given and with which resources, and takes none while it is full.

    What is done to it without its turn is noted, too.
    """

    def __init__(self) -> None:
        self.resources: list[Resources] = []
        self.is_full = False
        self.is_out_of_memory = False
        self.freed = 0
        self.out_of_turn: list[str] = []

    @property
    def copies(self) -> int:
        return len(self.resources)

    def take(self, resources: Resources, _device: int, index: Any) -> Any:
        self._note("copied")
        if self.is_full:
            raise RuntimeError("out of memory")
        self.resources.append(resources)
        copy = Copy(self, faiss.clone_index(index))
        weakref.finalize(copy, self._free)
        return copy

    def _free(self) -> None:
        self.freed += 1
        self._note("freed")

    def _note(self, what: str) -> None:
        if is_free(gpu.shared_device().turn):
            self.out_of_turn.append(what)


class Copy:
    def __init__(self, device: Device, index: Any) -> None:
        self._device = device
        self._index = index

    def search(self, *given: Any, **named: Any) -> Any:
        self._device._note("searched")
        if self._device.is_out_of_memory:
            raise RuntimeError("CUDA memory allocation error")
        return self._index.search(*given, **named)


def is_free(lock: Any) -> bool:
    """Whether another thread could take it."""
    taken: list[bool] = []

    def take() -> None:
        taken.append(lock.acquire(blocking=False))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    device = Device()
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", device.take, raising=False)
    gpu._device.cache_clear()
    yield device
    gpu._device.cache_clear()
    assert not device.out_of_turn


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

    def noted(_: gpu.GpuCopy, xq: Float32, k: int, probes: int) -> tuple[Float32, Int64] | None:
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
    main = main_of("Flat", 10_000)
    more = np.eye(3, D, dtype=np.float32)
    grown = extend_main(main, more, np.arange(3) + 90_000, np.arange(3) + 90_000, Build("Flat"))
    assert device.copies == 2
    assert grown.gpu is not None
    assert found(grown)


def test_without_room_on_the_device_the_processor_searches(device: Device) -> None:
    device.is_full = True
    main = main_of("Flat", 10_000)
    assert main.gpu is None
    assert all(len(hits) == 10 for hits in found(main))


@pytest.mark.parametrize("setting", ["Flat", "IVF64,Flat"])
def test_a_search_that_the_device_has_no_memory_for_is_done_by_the_processor(
    setting: str, device: Device
) -> None:
    main = main_of(setting, 12_000)
    assert main.gpu is not None
    expected = found(main)
    device.is_out_of_memory = True
    for hits, others in zip(found(main), expected, strict=True):
        assert_same_hits(hits, others)


def test_graphs_and_machines_without_a_gpu_have_no_copy(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main_of("HNSW16", 12_000).gpu is None
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert main_of("Flat", 10_000).gpu is None
    assert not device.copies


def test_few_rows_stay_on_the_processor(device: Device) -> None:
    assert main_of("Flat", 9_999).gpu is None
    assert main_of("Flat", 10_000).gpu is not None
    assert device.copies == 1


def test_all_copies_share_the_memory_that_is_set_aside_on_a_device(device: Device) -> None:
    mains = [main_of("Flat", 10_000) for _ in range(3)]
    assert all(found(main) for main in mains)
    (resources,) = set(device.resources)
    assert (resources.temp_bytes, resources.pinned_bytes) == (gpu.TEMP_BYTES, gpu.PINNED_BYTES)


def test_a_device_asked_for_by_several_at_once_is_made_once(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, entered, go_on = Resources(), threading.Event(), threading.Event()

    def slow() -> Resources:
        entered.set()
        assert go_on.wait(20)
        return first

    monkeypatch.setattr(faiss, "StandardGpuResources", slow)
    made: list[gpu.Device] = []
    threads = [threading.Thread(target=lambda: made.append(gpu.shared_device())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(made) == 4
    assert len(set(made)) == 1


def test_a_copy_is_made_searched_and_freed_in_its_turn(device: Device) -> None:
    main = main_of("Flat", 10_000)
    assert found(main)
    assert device.freed == 0
    del main
    assert (device.copies, device.freed, device.out_of_turn) == (1, 1, [])


def test_a_copy_that_is_freed_in_the_middle_of_a_search_does_not_stop_it(device: Device) -> None:
    mains = [main_of("Flat", 10_000)]

    def collect() -> None:
        with gpu.shared_device().turn:  # as when Python collects garbage there
            mains.clear()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(20)
    assert device.freed == 1


def test_a_search_waits_while_another_copy_is_used(device: Device) -> None:
    main, other = main_of("Flat", 10_000), main_of("Flat", 10_000)
    assert other.gpu is not None
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.extend(found(main)))
    with gpu.shared_device().turn:
        thread.start()
        thread.join(0.2)
        assert not answers
    thread.join(20)
    assert answers
