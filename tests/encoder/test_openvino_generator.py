"""The generator's OpenVINO graphs against the torch model, and against themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.types import Float32, Int32, Int64
from encoder.backends.openvino_generator import GeneratorPrecision, OpenVinoGenerator
from encoder.backends.torch_generator import read_sources
from encoder.encoder_decoder import EncoderDecoder, SourceBatch
from encoder.generator_config import PAD, GeneratorConfig
from encoder.generator_parameters import generator_shapes
from tests.encoder.generators import random_model, random_sources, tiny_generator, weights_of

LENGTHS = (5, 9, 1)
NONE = np.empty(0, np.int32)


@pytest.fixture(scope="module")
def config() -> GeneratorConfig:
    return tiny_generator()


@pytest.fixture(scope="module")
def model(config: GeneratorConfig) -> EncoderDecoder:
    return random_model(config)


@pytest.fixture(scope="module")
def exact(config: GeneratorConfig, model: EncoderDecoder) -> OpenVinoGenerator:
    return OpenVinoGenerator(config, weights_of(model), NONE, GeneratorPrecision.F32)


def texts(rows: int, tokens: int, seed: int = 2) -> Int32:
    """Random tokens (rows, tokens), the task's first."""
    found = np.random.default_rng(seed).integers(5, 60, (rows, tokens)).astype(np.int32)
    found[:, 0] = 2
    return found


def uncached(model: EncoderDecoder, lengths: tuple[int, ...], rows: Int64, tokens: Int32) -> Float32:
    """Log probabilities (r, V) after `tokens` (r, t), by torch without cache and padding."""
    sources = random_sources(model.config, lengths)
    found = []
    for row, text in zip(rows, tokens, strict=True):
        source = sources[row]
        batch = SourceBatch(
            torch.as_tensor(source.token_ids[None]).long(), torch.as_tensor(source.states[None])
        )
        with torch.no_grad():
            log_probs, _ = model.step(model.read(batch), torch.as_tensor(text[None]).long(), None)
        found.append(log_probs[0].numpy())
    return np.stack(found)


def test_the_names_and_shapes_of_the_weights_are_those_of_the_torch_model(
    config: GeneratorConfig, model: EncoderDecoder
) -> None:
    assert generator_shapes(config) == {name: w.shape for name, w in weights_of(model).items()}


def test_cached_steps_of_a_batch_equal_the_torch_model_without_cache_text_by_text(
    config: GeneratorConfig, model: EncoderDecoder, exact: OpenVinoGenerator
) -> None:
    steps = exact.read(random_sources(config, LENGTHS))
    tokens = texts(3, 12)
    for t in range(12):
        found = steps.step(tokens[:, t])
        expected = uncached(model, LENGTHS, np.arange(3), tokens[:, : t + 1])
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(np.exp(found).sum(1), 1, atol=1e-4)


@pytest.mark.parametrize(
    "orders",
    [
        [[0, 0, 1, 1, 2, 2], [1, 0, 3, 3, 4, 5], [0, 1, 4, 4]],  # beams: as many for each source
        [[2, 0, 0, 1], [3, 1, 0], [2]],  # in no order, not as many for each
        [[0, 2], [1]],  # sources that are over
    ],
)
def test_rows_that_are_repeated_moved_and_dropped_go_on_as_they_would_alone(
    model: EncoderDecoder, exact: OpenVinoGenerator, orders: list[list[int]]
) -> None:
    steps = exact.read(random_sources(model.config, LENGTHS))
    reference = read_sources(model, random_sources(model.config, LENGTHS))
    sources, tokens = np.arange(3), texts(3, 1)
    for number, order in enumerate(orders):
        rows = np.array(order)
        for one in (steps, reference):
            one.reorder(rows)
        sources, tokens = sources[rows], tokens[rows]
        found = steps.step(tokens[:, -1])
        np.testing.assert_allclose(found, reference.step(tokens[:, -1]), atol=1e-4)
        np.testing.assert_allclose(found, uncached(model, LENGTHS, sources, tokens), atol=1e-4)
        tokens = np.c_[tokens, texts(len(rows), 2, seed=number)[:, 1:]]


def test_a_generation_knows_nothing_of_the_one_before(exact: OpenVinoGenerator) -> None:
    config = tiny_generator()
    tokens = texts(2, 4)

    def run(lengths: tuple[int, ...]) -> Float32:
        steps = exact.read(random_sources(config, lengths))
        return np.stack([steps.step(tokens[: len(lengths), t]) for t in range(4)])

    first = run((5, 9))
    run((3,))
    np.testing.assert_array_equal(run((5, 9)), first)


def test_int8_weights_keep_the_distribution_near(config: GeneratorConfig, model: EncoderDecoder) -> None:
    rounded = OpenVinoGenerator(config, weights_of(model), NONE, GeneratorPrecision.INT8)
    steps = rounded.read(random_sources(config, LENGTHS))
    tokens = texts(3, 6)
    for t in range(6):
        found = np.exp(steps.step(tokens[:, t]))
        expected = np.exp(uncached(model, LENGTHS, np.arange(3), tokens[:, : t + 1]))
        assert 0 < np.abs(found - expected).sum(1).max() < 0.1  # twice the total variation


def test_tokens_that_stand_for_no_text_are_never_said(config: GeneratorConfig, model: EncoderDecoder) -> None:
    silent = np.array([PAD, 2], np.int32)
    steps = OpenVinoGenerator(config, weights_of(model), silent).read(random_sources(config, LENGTHS))
    log_probs = steps.step(texts(3, 1)[:, 0])
    assert (log_probs[:, silent] == -np.inf).all()
    assert np.isfinite(np.delete(log_probs, silent, 1)).all()


def test_a_word_of_the_source_is_copied_when_the_gate_says_so(config: GeneratorConfig) -> None:
    model = random_model(config)
    with torch.no_grad():
        model.copy.gate.bias.fill_(-40)
    steps = OpenVinoGenerator(config, weights_of(model), NONE).read(random_sources(config, LENGTHS))
    probabilities = np.exp(steps.step(texts(3, 1)[:, 0]))
    for row, source in enumerate(random_sources(config, LENGTHS)):
        assert probabilities[row, source.token_ids[1:]].sum() > 0.999
        assert probabilities[row, 2] < 1e-6  # the task's token is no word
