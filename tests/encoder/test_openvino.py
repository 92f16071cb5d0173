"""The OpenVINO backend: equal to the torch reference at tiny random size, and free of torch."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest

from core.types import Float32
from encoder.backends import openvino_backend
from encoder.backends.base import Forward
from encoder.backends.openvino_backend import OpenVinoBackend, Precision
from encoder.backends.openvino_streams import CALLERS_A_STREAM
from encoder.backends.torch_backend import TorchBackend
from encoder.config import Activation, ModelConfig, Pooling
from tests.encoder.fakes import random_batch, random_weights, tiny_config

LENGTHS = (7, 1, 12, 3)


def openvino(config: ModelConfig) -> OpenVinoBackend:
    return OpenVinoBackend(config, random_weights(config), Precision.F32, threads=1)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("pooling", Pooling)
def test_vectors_equal_those_of_the_torch_reference(
    pooling: Pooling, activation: Activation, normalize: bool
) -> None:
    config = replace(tiny_config(pooling), activation=activation, normalize=normalize)
    token_ids, lengths = random_batch(config, LENGTHS)
    expected = TorchBackend(config, random_weights(config)).forward(token_ids, lengths)
    np.testing.assert_allclose(openvino(config).forward(token_ids, lengths), expected, atol=2e-5)


def test_what_stands_in_the_padding_changes_nothing() -> None:
    config = tiny_config()
    backend = openvino(config)
    token_ids, lengths = random_batch(config, LENGTHS)
    dirty = np.pad(token_ids, ((0, 0), (0, 9)), constant_values=0)
    dirty[np.arange(dirty.shape[1]) >= lengths[:, None]] = 17
    np.testing.assert_allclose(
        backend.forward(dirty, lengths), backend.forward(token_ids, lengths), atol=1e-5
    )


def test_one_backend_serves_many_shapes_in_any_order() -> None:
    config = tiny_config()
    backend = openvino(config)
    reference = TorchBackend(config, random_weights(config))
    rng = np.random.default_rng(3)
    for seed in range(60):
        batch = random_batch(
            config, rng.integers(1, config.max_positions + 1, rng.integers(1, 9)).tolist(), seed
        )
        np.testing.assert_allclose(backend.forward(*batch), reference.forward(*batch), atol=2e-5)


def lone_query_threads(precision: Precision) -> str:
    config = tiny_config()
    backend = OpenVinoBackend(config, random_weights(config), precision, threads=2)
    return str(backend._fixed[8]._properties["INFERENCE_NUM_THREADS"])


def test_a_lone_query_takes_all_threads_where_products_are_in_float32_and_one_elsewhere() -> None:
    has_bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert lone_query_threads(Precision.F32) == "2"
    assert lone_query_threads(Precision.BF16) == ("1" if has_bf16 else "2")


def test_graphs_of_fixed_shape_take_over_and_give_the_same_for_texts_of_any_short_length() -> None:
    config = tiny_config()
    backend, reference = openvino(config), TorchBackend(config, random_weights(config))
    for size in (8, 16):
        for _ in range(40):
            backend.forward(*random_batch(config, [size]))
    for thread in threading.enumerate():
        if thread.name == "encoder-compile":
            thread.join(60)
    assert [shape.use() is not None for shape in backend._fixed.values()] == [True, True]
    for length in range(1, 20):  # those over 16 have no graph of their own
        batch = random_batch(config, [length], seed=length)
        np.testing.assert_allclose(backend.forward(*batch), reference.forward(*batch), atol=2e-5)
        states = backend.states(*batch)
        assert states.shape == (1, length, config.d)
        np.testing.assert_allclose(states, reference.states(*batch), atol=2e-5)
    pair = random_batch(config, [3, 5])
    np.testing.assert_allclose(backend.forward(*pair), reference.forward(*pair), atol=2e-5)


def test_a_large_model_gets_no_copies_of_fixed_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_backend, "_FIXED_MAX_PARAMETERS", 100)
    assert openvino(tiny_config())._fixed == {}


@pytest.mark.parametrize("threads", [1, 2])
def test_streams_give_what_the_reference_gives_at_the_same_time(threads: int) -> None:
    config = tiny_config()
    backend = OpenVinoBackend(config, random_weights(config), Precision.F32, threads)
    reference = TorchBackend(config, random_weights(config))
    assert len(backend.bulk_streams) == CALLERS_A_STREAM * threads
    batches = [random_batch(config, [1 + seed, 3, 12], seed) for seed in range(12)]

    def run(stream: Forward) -> list[Float32]:
        return [stream(*batch) for batch in batches]

    with ThreadPoolExecutor(len(backend.bulk_streams)) as pool:
        for found in pool.map(run, backend.bulk_streams):
            for vectors, batch in zip(found, batches, strict=True):
                np.testing.assert_allclose(vectors, reference.forward(*batch), atol=2e-5)


def test_states_of_the_bulk_lane_are_those_of_the_reference_while_the_backend_works() -> None:
    config = tiny_config()
    backend = OpenVinoBackend(config, random_weights(config), Precision.F32, 2)
    reference = TorchBackend(config, random_weights(config))
    batches = [random_batch(config, [tokens], tokens) for tokens in (1, 5, 12, 3)]

    def work() -> list[Float32]:
        return [backend.forward(*batch) for batch in batches * 5]

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(work)
        for token_ids, lengths in batches:
            (found,), (wanted,) = (one(token_ids, lengths) for one in (backend.bulk_states, reference.states))
            np.testing.assert_allclose(found[: lengths[0]], wanted[: lengths[0]], atol=2e-5)
        for vectors, batch in zip(beside.result(), batches * 5, strict=True):
            np.testing.assert_allclose(vectors, reference.forward(*batch), atol=2e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="niceness of threads is Linux's")
def test_threads_of_streams_give_way_and_others_do_not() -> None:
    config = tiny_config()
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def nicer_since(before: set[str]) -> list[bool]:
        """Of each thread started since, whether it is nicer than this one."""
        started = set(os.listdir("/proc/self/task")) - before
        return [os.getpriority(os.PRIO_PROCESS, int(thread)) > ours for thread in started]

    before = set(os.listdir("/proc/self/task"))
    backend = OpenVinoBackend(config, random_weights(config), Precision.F32, threads=2)
    backend.forward(*random_batch(config, LENGTHS))
    assert not any(nicer_since(before))
    before = set(os.listdir("/proc/self/task"))
    for stream in backend.bulk_streams:
        stream(*random_batch(config, LENGTHS))
    assert sum(nicer_since(before)) >= 2


def test_lengths_are_rounded_up_to_few_shapes_but_not_past_the_position_table() -> None:
    backend = openvino(replace(tiny_config(), max_positions=90))
    assert [backend.padded_length(t) for t in (1, 4, 5, 64, 65, 80, 81, 89)] == [4, 4, 8, 64, 80, 80, 90, 90]


def test_results_stay_as_they_are_when_the_backend_runs_again() -> None:
    config = tiny_config()
    backend = openvino(config)
    first = backend.forward(*random_batch(config, LENGTHS, seed=1))
    kept = first.copy()
    backend.forward(*random_batch(config, LENGTHS, seed=2))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.integration
def test_serving_with_openvino_never_imports_torch() -> None:
    script = (
        "import sys\n"
        "from encoder.service import load_encoder\n"
        "encoder = load_encoder(threads=1)\n"
        "assert encoder.encode_queries(['hello']).shape == (1, 384)\n"
        "encoder.close()\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
