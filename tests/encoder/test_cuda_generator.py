"""Steps in arrays of fixed shapes against those that grow; the CUDA graph itself needs a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from encoder.backends.cuda_generator import Room, StaticSteps
from encoder.backends.torch_generator import read_sources
from encoder.encoder_decoder import EncoderDecoder
from tests.encoder.generators import random_model, random_sources, tiny_generator

LENGTHS = (5, 9, 1)


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    return random_model(tiny_generator())


def compare(model: EncoderDecoder, orders: list[list[int]], rows: int) -> None:
    """Both decode the same random tokens, in these orders of rows."""
    sources = random_sources(tiny_generator(), LENGTHS)
    device = str(model.decoder.embedding.weight.device)
    steps = StaticSteps(model, Room(rows, 12, 14))
    rng = np.random.default_rng(0)
    for _ in range(2):  # the second generation finds what the first has left
        steps.read(sources)
        reference = read_sources(model, sources, device)
        for order in orders:
            for one in (steps, reference):
                one.reorder(np.array(order))
            tokens = rng.integers(5, 60, len(order)).astype(np.int32)
            np.testing.assert_allclose(steps.step(tokens), reference.step(tokens), atol=1e-4)


ORDERS = [
    [[0, 1, 2], [0, 1, 2], [0, 2], [1]],
    [[0, 0, 1, 1, 2, 2], [1, 0, 3, 3, 4, 5], [0, 1, 4, 4], [3, 3, 2, 1]],
]


@pytest.mark.parametrize("orders", ORDERS)
def test_steps_of_fixed_shapes_equal_those_that_grow(model: EncoderDecoder, orders: list[list[int]]) -> None:
    compare(model, orders, max(map(len, orders)))


@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_replayed_graphs_equal_steps_that_grow(model: EncoderDecoder, orders: list[list[int]]) -> None:
    compare(random_model(tiny_generator()).cuda(), orders, max(map(len, orders)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_is_captured_while_another_thread_takes_memory_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute, beside = StaticSteps._compute, []

    def compute_beside(steps: StaticSteps) -> Tensor:
        if torch.cuda.is_current_stream_capturing():
            with ThreadPoolExecutor(1) as pool:
                taken = pool.submit(lambda: torch.empty(2**28, dtype=torch.uint8, device="cuda"))
                beside.append(taken.result())
        return compute(steps)

    monkeypatch.setattr(StaticSteps, "_compute", compute_beside)
    compare(random_model(tiny_generator()).cuda(), ORDERS[0], 3)
    assert len(beside) == 1
