"""Fits leave the machine's other cores alone."""

from __future__ import annotations

import subprocess
import sys

FIT = """
import faiss
import numpy as np
from classifier.logistic import LogisticProblem
from classifier.progress import Progress
from threadpoolctl import ThreadpoolController

ThreadpoolController().limit(limits=2, user_api="blas")
vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
truth = np.eye(2, dtype=bool)[np.arange(20) % 2]
LogisticProblem(vectors, truth, False, Progress(lambda share: None)).solve(1.0)
for one in ThreadpoolController().info():
    if one["user_api"] == "blas":
        print("faiss" in one["filepath"], one["num_threads"])
"""


def test_a_fit_computes_on_one_thread_and_leaves_indexes_theirs() -> None:
    """In a process of its own, because the limit stays."""
    told = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, check=True).stdout
    found = {tuple(line.split()) for line in told.splitlines()}
    assert {threads for owner, threads in found if owner == "False"} == {"1"}
    assert {threads for owner, threads in found if owner == "True"} <= {"2"}
