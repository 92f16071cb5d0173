"""Few-shot tuning: its losses, its batches, and that it separates labels."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.errors import InvalidInput
from core.types import Float32
from encoder.adapters import merge
from encoder.backends.base import Int32
from encoder.bert import bert_from_weights
from encoder.config import ModelConfig, Pooling
from encoder.training.few_shot import (
    Adapters,
    Bools,
    balanced,
    batches,
    prototype_loss,
    tune_adapters,
)
from encoder.training.forward import embed
from encoder.training.settings import TuneSettings
from encoder.training.upper_blocks import lower_states, upper_vectors
from tests.encoder.fakes import random_batch, random_weights, tiny_config, tiny_modern_config

LENGTHS = (7, 1, 12, 3, 30, 12, 2)
SETTINGS = TuneSettings(steps=60, labels_a_batch=4, examples_a_label=4, lora_rank=4, learning_rate=1e-2)


def texts_of(lengths: tuple[int, ...], seed: int = 1) -> list[Int32]:
    ids, sizes = random_batch(tiny_config(), lengths, seed)
    return [row[:n] for row, n in zip(ids, sizes, strict=True)]


def one_hot(labels: list[int]) -> Bools:
    return np.eye(max(labels) + 1, dtype=bool)[labels]


def labelled(seed: int) -> tuple[list[Int32], Bools]:
    """40 random texts of 4 labels; each has its label's word at two places."""
    texts = texts_of((6,) * 40, seed)
    labels = [i % 4 for i in range(40)]
    for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
        text[text >= 40] -= 10
        text[[1 + i % 2, 3 + i % 3]] = 40 + label
    return texts, one_hot(labels)


def tuned(seed: int = 0, settings: TuneSettings = SETTINGS, config: ModelConfig | None = None) -> Adapters:
    config = config or tiny_config()
    texts, truth = labelled(1)
    return tune_adapters(config, random_weights(config), texts, truth, settings, seed, lambda _: None)


def vectors(adapters: Adapters, texts: list[Int32]) -> Float32:
    weights = merge(random_weights(tiny_config()), adapters)
    with torch.no_grad():
        return embed(bert_from_weights(tiny_config(), weights), texts).numpy()


def margin(vectors: Float32, truth: Bools) -> float:
    """Mean similarity of texts of one label less that of texts of two."""
    alike = truth @ truth.T
    similarity = vectors @ vectors.T
    return float(similarity[alike & ~np.eye(len(truth), dtype=bool)].mean() - similarity[~alike].mean())


def test_upper_blocks_on_stored_states_equal_the_whole_model() -> None:
    model = bert_from_weights(tiny_config(), random_weights(tiny_config()))
    texts = texts_of(LENGTHS)
    with torch.no_grad():
        expected = embed(model, texts)
        for last in (1, 2):
            states = lower_states(model, texts, last, bf16=False)
            found = upper_vectors(model, states, last, bf16=False, drop=lambda h: h)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_text_may_fill_all_positions_of_the_model_however_many_there_are() -> None:
    config = replace(tiny_config(), max_positions=33, max_tokens=33)
    model = bert_from_weights(config, random_weights(config))
    texts = texts_of((33, 30))
    states = lower_states(model, texts, 1, bf16=False)
    with torch.no_grad():
        found = upper_vectors(model, states, 1, bf16=False, drop=lambda h: h)
        torch.testing.assert_close(found, embed(model, texts), atol=1e-5, rtol=1e-4)


def test_tuning_separates_labels_of_texts_it_has_not_seen() -> None:
    texts, truth = labelled(2)
    assert margin(vectors(tuned(), texts), truth) > margin(vectors({}, texts), truth) + 0.2


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.CLS])
def test_encoders_of_other_pooling_are_tuned_too(pooling: Pooling) -> None:
    adapters = tuned(config=tiny_config(pooling), settings=replace(SETTINGS, steps=2))
    assert adapters
    assert all(name.startswith("encoder.layer.") for name in adapters)


def test_a_seed_decides_the_adapters_up_to_rounding() -> None:
    settings = replace(SETTINGS, steps=4)
    first, again, other = tuned(3, settings), tuned(3, settings), tuned(4, settings)
    assert all(np.allclose(first[name], again[name], atol=1e-3) for name in first)
    assert not any(np.allclose(first[name], other[name], atol=1e-3) for name in first)


def test_tuning_that_diverges_ends_with_its_reason_instead_of_adapters_of_no_numbers() -> None:
    with pytest.raises(InvalidInput, match="training has diverged"):
        tuned(settings=replace(SETTINGS, learning_rate=1e20, prototype_learning_rate=1e20, steps=10))


def test_time_ends_tuning_and_progress_may_stop_it() -> None:
    texts, truth = labelled(1)
    weights = random_weights(tiny_config())
    told: list[float] = []
    hurried = replace(SETTINGS, steps=10**6, max_seconds=0.3)
    tune_adapters(tiny_config(), weights, texts, truth, hurried, 0, told.append)
    assert 0 < len(told) < 10**4

    def stop(share: float) -> None:
        raise InterruptedError(share)

    with pytest.raises(InterruptedError):
        tune_adapters(tiny_config(), weights, texts, truth, SETTINGS, 0, stop)


def test_batches_hold_rare_labels_as_often_as_frequent_ones() -> None:
    truth = one_hot([0] * 50 + [1] * 2 + [2])
    settings = replace(SETTINGS, labels_a_batch=2, examples_a_label=2)
    seen = np.zeros(3)
    for batch in islice(batches(truth, settings, np.random.default_rng(0)), 60):
        assert len(batch) == len(set(batch.tolist())) <= 8
        seen += truth[batch].any(axis=0)
    assert seen.max() - seen.min() <= 6


def test_what_does_not_fit_is_left_out_of_the_frequent_labels() -> None:
    truth = one_hot([0] * 50 + [1] * 3)
    settings = replace(SETTINGS, max_texts_tokens=80)
    kept = balanced(truth, [10] * 53, settings, np.random.default_rng(0))
    assert truth[kept].sum(axis=0).tolist() == [5, 3]
    settings = replace(SETTINGS, max_texts_tokens=530)
    assert len(balanced(truth, [10] * 53, settings, np.random.default_rng(0))) == 53


def test_several_labels_of_a_text_share_the_truth_and_none_says_nothing() -> None:
    prototypes = torch.eye(3)
    vectors = F.normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=-1)
    both = prototype_loss(vectors, torch.tensor([[True, True, False]]), prototypes, 0.05)
    torch.testing.assert_close(both, torch.tensor(np.log(2)).float(), atol=1e-5, rtol=0)
    assert float(prototype_loss(vectors, torch.zeros(1, 3, dtype=torch.bool), prototypes, 0.05)) == 0


def test_a_modernbert_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'tiny' is a ModernBERT"):
        tuned(config=tiny_modern_config())
