"""What of the GPU backend can be tested without a GPU: its refusals, and how it keeps captured graphs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from core.errors import CheckpointError, StartRefused
from encoder import packed
from encoder.backends.cuda_backend import (
    CompiledModel,
    GraphCache,
    Replay,
    cuda_backend,
    require_cuda,
    require_flash_heads,
)
from encoder.backends.packed_backend import split_buffer
from encoder.config import Pooling
from encoder.packed import PackedBert, packed_from_weights
from encoder.packing import SMALL_TOKENS, PackedBatch, pack, unpad
from encoder.service import load_encoder
from tests.encoder.fakes import random_batch, random_weights, tiny_config
from tests.encoder.test_packed import tame_weights


class FakeCapture:
    """A graph that computes again into the tensor of its capture, from the tensors of its capture."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
        self.captures += 1
        output = compute().fill_(torch.nan)

        def replay() -> None:
            self.replays += 1
            output.copy_(compute())

        return output, replay


def batch_of(lengths: tuple[int, ...], seed: int) -> PackedBatch:
    token_ids, sizes = random_batch(tiny_config(), lengths, seed)
    return pack(unpad(token_ids, sizes), sizes)


def test_a_captured_graph_computes_the_batch_it_is_given_each_time() -> None:
    model, capture = packed_from_weights(tiny_config(), random_weights(tiny_config())), FakeCapture()
    cache = GraphCache(model, capture)
    for seed, lengths in enumerate([(3, 5), (5, 3), (4, 2), (30, 20), (3, 5)]):
        batch = batch_of(lengths, seed)
        buffer = torch.from_numpy(batch.buffer)
        expected = model(*split_buffer(buffer, batch.shape.tokens), batch.shape.longest)
        torch.testing.assert_close(cache.run(buffer, batch.shape), expected)
    assert (capture.captures, capture.replays) == (2, 5)


def test_large_batches_and_those_beyond_the_limit_run_without_a_graph() -> None:
    model, capture = packed_from_weights(tiny_config(), random_weights(tiny_config())), FakeCapture()
    cache = GraphCache(model, capture, max_graphs=1)
    large = (40,) * (SMALL_TOKENS // 40 + 1)
    for lengths in [(3, 5), (30, 20), large]:
        batch = batch_of(lengths, seed=0)
        assert torch.isfinite(cache.run(torch.from_numpy(batch.buffer), batch.shape)[: batch.texts]).all()
    assert (capture.captures, capture.replays) == (1, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a pretended GPU has another torch.compile")
def test_a_machine_that_cannot_compile_runs_the_model_as_it_is_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = 0

    def without_compiler(*_: Any) -> Any:
        nonlocal calls
        calls += 1
        raise RuntimeError("Failed to find C compiler.")

    plain = packed_from_weights(tiny_config(), random_weights(tiny_config()))
    model = CompiledModel(torch.compile(plain, backend=without_compiler), plain)
    for lengths in [(3, 5), (30, 20)]:
        batch = batch_of(lengths, seed=0)
        given = (*split_buffer(torch.from_numpy(batch.buffer), batch.shape.tokens), batch.shape.longest)
        assert torch.equal(model(*given), plain(*given))
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        "RuntimeError: Failed to find C compiler.). To compile it needs a C compiler" in record.getMessage()
    )
    assert calls == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="a pretended GPU has another torch.compile")
@pytest.mark.parametrize("pooling", Pooling)
def test_the_compiler_gets_one_graph_for_batches_of_all_shapes(
    monkeypatch: pytest.MonkeyPatch, pooling: Pooling
) -> None:
    """Of the model as a GPU runs it; what the kernel of attention gives is known without running it."""
    monkeypatch.setattr(
        packed, "_attention", lambda starts, _, longest: partial(packed._flash_attention, starts, longest)
    )
    graphs: list[Any] = []

    def keep(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    with FakeTensorMode():
        model = PackedBert(replace(tiny_config(pooling), d=64, heads=2)).eval().requires_grad_(False)
        compiled = torch.compile(model, dynamic=True, fullgraph=True, backend=keep)
        for lengths in [(40,) * 110, (1,), (17, 3), (40, 40, 40), (2,) * 200]:
            shape = batch_of(lengths, seed=0).shape
            buffer = torch.zeros(shape.tokens + shape.segments + 1, dtype=torch.int32)
            with torch.inference_mode():
                vectors = compiled(*split_buffer(buffer, shape.tokens), shape.longest)
            assert (*vectors.shape, vectors.dtype) == (shape.segments, 64, torch.float32)
    assert len(graphs) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_refused_with_what_to_do() -> None:
    with pytest.raises(StartRefused, match=r"needs an NVIDIA GPU.*openvino"):
        cuda_backend(tiny_config(), random_weights(tiny_config()))


def test_a_gpu_without_bfloat16_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(StartRefused, match=r"'Tesla T4' has 7\.5.*openvino"):
        require_cuda()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    require_cuda()


def test_heads_that_flash_attention_does_not_take_are_refused() -> None:
    require_flash_heads(replace(tiny_config(), d=64, heads=2))
    with pytest.raises(CheckpointError, match=r"'tiny' has heads of width 4.*multiples of 8"):
        require_flash_heads(tiny_config())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.integration
def test_vectors_of_the_gpu_are_close_to_those_of_the_reference() -> None:
    from encoder.backends.torch_backend import TorchBackend

    config = replace(tiny_config(), d=64, heads=2)
    weights = tame_weights(config)
    backend = cuda_backend(config, weights)
    for lengths in [(1,), tuple(range(1, 41)), (40,) * (SMALL_TOKENS // 40 + 1), (7, 3), (3, 7)]:
        batch = random_batch(config, lengths)
        expected = TorchBackend(config, weights).forward(*batch)
        assert np.min((backend.forward(*batch) * expected).sum(1)) >= 0.999


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_loading_an_encoder_on_cuda_is_refused_without_a_gpu() -> None:
    with pytest.raises(StartRefused, match="needs an NVIDIA GPU"):
        load_encoder(backend="cuda")


def test_an_installation_without_torch_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "encoder.backends.cuda_backend", None)
    with pytest.raises(StartRefused, match=r"needs torch .* install 'cognate\[torch\]'"):
        load_encoder(backend="cuda")
