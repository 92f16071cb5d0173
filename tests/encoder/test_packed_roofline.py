"""The floor of the GPU benchmark: counts against a hand count and against torch's own counter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.roofline import PEAKS, Peak, floor_of, forward_bytes, forward_flops, peak_of
from encoder.bert import bert_from_weights
from encoder.config import ModelConfig, Pooling
from tests.encoder.fakes import random_batch, random_weights, tiny_config

ROOT = Path(__file__).parents[2]


def test_flops_are_those_counted_by_hand() -> None:
    config = ModelConfig("hand", 10, d=4, layers=3, heads=2, intermediate=8, pooling=Pooling.CLS)
    one_token_linear = 2 * (3 * 4 * 4 + 4 * 4 + 4 * 8 + 8 * 4)  # qkv, output, up, down: 256
    attention = 2 * (5 * 5 * 4) + 2 * (5 * 5 * 4) + 2 * (1 * 1 * 4) + 2 * (1 * 1 * 4)  # lengths 5 and 1: 416
    assert forward_flops(config, [5, 1]) == 3 * (6 * one_token_linear + attention) == 5856


@pytest.mark.parametrize("pooling", Pooling)
def test_flops_agree_with_those_torch_counts_in_the_reference(pooling: Pooling) -> None:
    config = tiny_config(pooling)
    token_ids, lengths = random_batch(config, (20, 20, 20))
    model = bert_from_weights(config, random_weights(config))
    # The counter does not know the fused attention of the CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(torch.from_numpy(token_ids), torch.from_numpy(np.ones_like(token_ids, bool)))
    assert counter.get_total_flops() == pytest.approx(forward_flops(config, lengths.tolist()), rel=0.02)


def test_bytes_grow_with_tokens_and_weights_are_read_once_a_batch() -> None:
    config = ModelConfig("hand", 10, d=4, layers=3, heads=2, intermediate=8, pooling=Pooling.CLS)
    weights = 2 * 3 * (4 * 4 * 4 + 2 * 4 * 8)
    assert forward_bytes(config, [5], 3) - forward_bytes(config, [5], 2) == weights
    a_layer = (4 + 12) + (12 + 4) + (4 + 4) + (4 + 8) + (8 + 8) + (8 + 4) + 2 * (8 + 4)
    a_token = 2 * (3 * a_layer + 3 * 4 + 4) + 4
    assert forward_bytes(config, [5], 1) - forward_bytes(config, [4], 1) == a_token


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    config = tiny_config()
    floor = floor_of(config, [10], 1, Peak(tflops=1e-12, terabytes_per_s=1e-12))
    assert floor.compute_s == forward_flops(config, [10])
    assert floor.memory_s == forward_bytes(config, [10], 1)
    assert floor.seconds == max(floor.compute_s, floor.memory_s)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", PEAKS["H200"]),
        ("NVIDIA H100 80GB HBM3", PEAKS["H100"]),
        ("NVIDIA H100 PCIe", PEAKS["H100 PCIe"]),
        ("NVIDIA A100-SXM4-80GB", PEAKS["A100"]),
        ("NVIDIA A100 80GB PCIe", PEAKS["A100 80GB PCIe"]),
        ("Tesla T4", None),
    ],
)
def test_a_device_has_the_peaks_of_its_own_name(name: str, peak: Peak | None) -> None:
    assert peak_of(name) == peak


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.integration
def test_the_benchmark_refuses_a_machine_without_a_gpu() -> None:
    command = [sys.executable, "-m", "benchmarks.encode", "--device", "cuda", "--limit", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "--device cuda measures a GPU. The backend 'cuda' needs an NVIDIA GPU" in done.stderr
    assert "Traceback" not in done.stderr
