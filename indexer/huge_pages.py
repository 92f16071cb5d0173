"""Memory in pages of 2 MB, where Linux gives them.

A search through a graph reads vectors and links from all over the memory; with pages of 4 KB nearly each
is a miss in the processor's table of pages. How much faster huge ones are is in docs/scaling.md.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy.typing as npt

PAGE = 1 << 21
# Of <asm-generic/mman-common.h>; the second is of Linux 6.1.
MADV_HUGEPAGE = 14
MADV_COLLAPSE = 25


def use_huge_pages(array: npt.NDArray[Any], at_once: bool) -> None:
    """Asks for the memory of a contiguous array to lie in huge pages; its contents stay.

    `at_once` moves them before it returns (2 ms a MB where memory is in pieces); else the system does, in the
    background, some MB a second. A request: where there are none to give, or the system does not know the
    question, nothing happens.
    """
    if sys.platform != "linux":
        return
    address = array.ctypes.data
    first, end = -(-address // PAGE) * PAGE, (address + array.nbytes) // PAGE * PAGE
    if first >= end:
        return
    madvise = ctypes.CDLL(None).madvise
    for advice in (MADV_HUGEPAGE, MADV_COLLAPSE) if at_once else (MADV_HUGEPAGE,):
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), advice)
