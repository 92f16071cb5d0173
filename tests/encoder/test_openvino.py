"""The OpenVINO backend: equal to the torch reference at tiny random size, and free of torch."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from encoder.backends import openvino_backend
from encoder.backends.openvino_backend import OpenVinoBackend, Precision
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


def test_lengths_are_rounded_up_to_few_shapes_but_not_past_the_position_table() -> None:
    backend = openvino(replace(tiny_config(), max_positions=90))
    assert [backend.padded_length(t) for t in (1, 4, 5, 64, 65, 80, 81)] == [4, 4, 8, 64, 80, 80, 90]


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
