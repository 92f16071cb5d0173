"""Training, decoding and the GPU backend on a device that is not the CPU, pretended where there is no GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HOUSE = Path(__file__).parents[2]
ON_THE_GPU = [
    "tests/pretended_gpu/checks.py",
    "tests/encoder/training",
    "tests/encoder/public/test_generator.py",
    "tests/encoder/test_cuda_backend.py",
    "tests/encoder/test_cuda_generator.py",
    "tests/encoder/test_cross_encoder.py",
    "tests/encoder/test_vector_reader.py",
]


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_all_that_runs_on_a_gpu_runs_on_a_pretended_one(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.pretended_gpu.plugin",
        "-p",
        "no:cacheprovider",
    ]
    environment = {**os.environ, "PRETENDED_GPU_BUILD": str(tmp_path), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [*command, *ON_THE_GPU], cwd=HOUSE, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "passed" in done.stdout
