"""Keeps the process's memory near what it uses; glibc only, nothing happens elsewhere."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


def bound_heaps() -> None:
    """Lets threads share two heaps: with one for each thread, what one has freed no other uses (25 MB)."""
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, _ARENAS)


def return_freed_memory() -> None:
    """Gives back what glibc keeps of memory that was freed: some 20 MB after loading, and after an ingest."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim:
        trim(0)


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
