from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from indexer.huge_pages import PAGE, use_huge_pages
from indexer.main_index import Build, build_main, extend_main

needs_huge_pages = pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists(),
    reason="needs a Linux with transparent huge pages",
)


def are_huge_asked_for(array: npt.NDArray[Any]) -> bool:
    """Whether the system notes so of the memory in the middle of the array."""
    middle = array.ctypes.data + array.nbytes // 2
    is_inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word = line.split(maxsplit=1)[0]
        if "-" in word:
            first, end = (int(part, 16) for part in word.split("-"))
            is_inside = first <= middle < end
        elif is_inside and word == "VmFlags:":
            return "hg" in line.split()
    raise AssertionError(f"no memory at {middle:x}")


@needs_huge_pages
@pytest.mark.parametrize("at_once", [True, False])
def test_memory_is_asked_to_lie_in_huge_pages_and_keeps_its_contents(at_once: bool) -> None:
    with mmap.mmap(-1, 4 * PAGE) as memory:
        array = np.frombuffer(memory, np.int32)
        array[:] = np.arange(len(array))
        assert not are_huge_asked_for(array)
        use_huge_pages(array, at_once)
        assert are_huge_asked_for(array)
        assert (array == np.arange(len(array))).all()
        del array


@pytest.mark.parametrize("size", [0, 1, PAGE - 1])
def test_memory_without_a_whole_huge_page_is_left_alone(size: int) -> None:
    array = np.arange(size, dtype=np.uint8)
    use_huge_pages(array, at_once=True)
    assert (array == np.arange(size, dtype=np.uint8)).all()


@needs_huge_pages
def test_a_graph_lies_in_huge_pages_built_and_extended() -> None:
    vectors = np.random.default_rng(0).standard_normal((9_000, 256), dtype=np.float32)
    ids = np.arange(9_000)
    main = build_main(vectors[:8_000], ids[:8_000], ids[:8_000], Build("HNSW8"))
    assert are_huge_asked_for(main.vectors)
    more = extend_main(main, vectors[8_000:], ids[8_000:], ids[8_000:], Build("HNSW8"))
    assert are_huge_asked_for(more.vectors)
    np.testing.assert_array_equal(more.vectors, vectors)
