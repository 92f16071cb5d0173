"""The service measures its own rankings exactly as `cognate eval` does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from evaluation.retrieval import measure_rankings
from evaluation.scorer import IrScorer


def test_values_are_those_of_the_evaluation_command() -> None:
    rng = np.random.default_rng(0)
    documents = [f"d{i}" for i in range(150)]
    relevance = [{str(d): int(rng.integers(0, 4)) for d in rng.choice(documents, 8)} for _ in range(20)]
    rankings = [[str(d) for d in rng.permutation(documents)[:120]] for _ in range(19)] + [[]]
    names = [f"q{i}" for i in range(20)]

    ours = IrScorer().values(["nDCG@10", "R@100", "RR@10"], relevance, rankings)

    theirs = measure_rankings(
        dict(zip(names, relevance, strict=True)), dict(zip(names, rankings, strict=True))
    )
    of_command = {measure.name: [measure.items[name] for name in names] for measure in theirs}
    assert ours["nDCG@10"] == pytest.approx(of_command["nDCG@10"])
    assert ours["R@100"] == pytest.approx(of_command["recall@100"])
    assert ours["RR@10"] == pytest.approx(of_command["MRR@10"])
    assert ours["nDCG@10"].max() > 0
    assert ours["nDCG@10"][19] == 0


def test_p_is_small_only_for_systems_that_differ() -> None:
    rng = np.random.default_rng(0)
    weak = rng.random(60)

    assert IrScorer().p_value(weak, weak) == 1.0
    assert IrScorer().p_value(weak + 0.1, weak) < 0.001


def test_a_process_that_measures_nothing_does_not_load_the_library() -> None:
    program = (
        "import sys, cognate.bootstrap; from evaluation.scorer import IrScorer; IrScorer();"
        " print(sorted({name.split('.')[0] for name in sys.modules} & {'ir_measures', 'scipy', 'sklearn'}))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
