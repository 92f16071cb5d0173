"""On how many threads numpy and scipy compute: one.

Matrices here are small: several threads save less than they lose by waiting for one another where other
threads and processes want the same cores.
"""

from __future__ import annotations

from functools import cache

FAISS = "faiss"  # in the path of the libraries that it brings; indexes keep their threads


@cache
def use_one_thread() -> None:
    """Limits the BLAS of numpy and scipy for the rest of the process.

    For the rest, because the limit is the process's: one that ends with a fit would end amid another's.
    Looking the libraries up takes some 10 ms, once; scipy, which is large, is imported to be among them.
    """
    import scipy.optimize  # noqa: F401
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController()
    paths = [one["filepath"] for one in found.info() if one["user_api"] == "blas"]
    found.select(filepath=[path for path in paths if FAISS not in path]).limit(limits=1)
