"""Inputs longer than a model reads at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CheckpointError
from core.types import Lane, PassageText
from encoder.checkpoint import load_checkpoint
from encoder.config import ModelConfig, Pooling
from encoder.service import EncoderService, load_encoder
from encoder.windows import LATER_SHARE, mixed, windows
from tests.encoder.fakes import tiny_config
from tests.encoder.training.tiny import WORDS, save_tiny_model

AT_ONCE, MOST = 8, 20
LONG = " ".join(WORDS[:15])  # 17 tokens: windows of 6, 6 and 3 words


def windowed(config: ModelConfig | None = None) -> ModelConfig:
    return replace(config or tiny_config(), max_tokens=MOST, window_tokens=AT_ONCE)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncoderService]:
    service = load_encoder(save_tiny_model(tmp_path_factory.mktemp("windowed"), windowed()), precision="f32")
    yield service
    service.close()


def by_hand(encoder: EncoderService) -> np.ndarray:
    """LONG's vector from those of its windows."""
    first, second, third = encoder.encode_queries(
        [" ".join(WORDS[a:b]) for a, b in ((0, 6), (6, 12), (12, 15))]
    )
    whole = first + LATER_SHARE * second + LATER_SHARE / 2 * third
    return np.asarray(whole / np.linalg.norm(whole))


@given(st.integers(0, 60), st.integers(3, 20))
def test_windows_are_the_input_between_its_own_ends(inner: int, most: int) -> None:
    ids = np.array([1, *range(10, 10 + inner), 2], np.int32)
    found = windows(ids, most)
    assert all(len(window) <= most for window in found)
    assert all(len(window) == most for window in found[:-1])
    assert all(window[0] == 1 and window[-1] == 2 for window in found)
    assert np.concatenate([window[1:-1] for window in found]).tolist() == list(range(10, 10 + inner))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(3, 10))
def test_a_batch_is_mixed_as_its_inputs_are_alone(lengths: list[int], most: int) -> None:
    rng = np.random.default_rng(len(lengths))
    inputs = [windows(np.arange(n + 2, dtype=np.int32), most) for n in lengths]
    vectors = rng.standard_normal((len(list(chain.from_iterable(inputs))), 4), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = np.cumsum([0, *map(len, inputs)])
    alone = [
        mixed(vectors[start : start + len(one)], [one])[0] for start, one in zip(starts, inputs, strict=False)
    ]
    whole = mixed(vectors, inputs)
    np.testing.assert_allclose(whole, alone, atol=1e-6)
    for row, start, one in zip(whole, starts, inputs, strict=False):
        assert len(one) > 1 or (row == vectors[start]).all()


def test_a_longer_text_gets_the_weighted_sum_by_every_way_in(encoder: EncoderService) -> None:
    expected = by_hand(encoder)
    tokenized = encoder.tokenize_passages([PassageText("", LONG)])
    for vectors in (
        encoder.encode_queries([LONG]),
        encoder.encode_passages([PassageText("", LONG)]),
        encoder.encode_tokenized(tokenized),
        encoder.encode_tokens(encoder.tokenize([LONG]), Lane.BULK),
    ):
        np.testing.assert_allclose(vectors, expected[None], atol=1e-5)


def test_texts_that_fit_keep_the_vectors_of_the_model_without_windows(
    encoder: EncoderService, tmp_path: Path
) -> None:
    short = load_encoder(
        save_tiny_model(tmp_path, replace(tiny_config(), max_tokens=AT_ONCE)), precision="f32"
    )
    fits = [" ".join(WORDS[:n]) for n in range(AT_ONCE - 1)]
    among_longer = encoder.encode_queries([text for one in fits for text in (one, LONG)])[::2]
    np.testing.assert_allclose(among_longer, short.encode_queries(fits), atol=1e-6)
    assert short.info.fingerprint != encoder.info.fingerprint
    short.close()


def test_more_texts_than_one_slice_are_mixed_in_their_order(encoder: EncoderService) -> None:
    texts = [" ".join(WORDS[i % 20 : i % 20 + 1 + i % 18]) for i in range(1100)]
    vectors = encoder.encode_passages([PassageText("", text) for text in texts])
    for i in (0, 17, 511, 512, 530, 1099):
        np.testing.assert_allclose(vectors[i], encoder.encode_queries([texts[i]])[0], atol=1e-5)


@pytest.mark.parametrize("pooling", [Pooling.CLASS_ATTENTION, Pooling.MEAN])
def test_contributions_of_a_longer_text_add_up_to_its_vector(pooling: Pooling, tmp_path: Path) -> None:
    service = load_encoder(save_tiny_model(tmp_path, windowed(tiny_config(pooling))), precision="f32")
    (parts,) = service.passage_parts([PassageText("", LONG)])
    assert len(parts.tokens) == len(parts.vectors) == 17
    np.testing.assert_allclose(parts.vectors.sum(axis=0), by_hand(service), atol=1e-5)
    assert [LONG[token.start : token.end] for token in parts.tokens[1:-1]] == WORDS[:15]
    assert not parts.is_truncated
    (second,) = service.passage_parts([PassageText("", " ".join(WORDS[6:12]))])
    ratios = parts.vectors[7:13] / second.vectors[1:-1]  # each token of the second window, equally scaled
    np.testing.assert_allclose(ratios, ratios[0, 0], rtol=1e-3)
    service.close()


def test_what_is_past_the_longest_input_is_cut_and_told(encoder: EncoderService) -> None:
    longest, longer = " ".join(WORDS[:18]), " ".join(WORDS[:19])
    one, other = encoder.encode_queries([longest, longer])
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert [encoder.query_parts(text).is_truncated for text in (longest, longer)] == [False, True]


def test_word_pieces_for_a_generator_are_those_of_the_first_window(encoder: EncoderService) -> None:
    fits = " ".join(WORDS[: AT_ONCE - 2])
    cut, whole = encoder.pieces([LONG, fits])
    assert cut.ids == whole.ids
    assert cut.offsets == whole.offsets
    assert encoder.states(np.array(cut.ids, np.int32)).shape == (AT_ONCE, tiny_config().d)


def test_a_shorter_reading_goes_without_windows(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, windowed())
    assert load_checkpoint(folder).config.window_tokens == AT_ONCE
    for max_tokens, at_once in ((5, 5), (AT_ONCE, AT_ONCE), (9, AT_ONCE), (MOST, AT_ONCE), (100, AT_ONCE)):
        config = load_checkpoint(folder, max_tokens).config
        assert (config.max_tokens, config.at_once) == (max_tokens, at_once)
    assert load_checkpoint(folder, MOST).fingerprint == load_checkpoint(folder).fingerprint


def test_windows_that_the_model_cannot_read_are_refused() -> None:
    with pytest.raises(CheckpointError, match="window_tokens=41 must lie between 3 and the 40 rows"):
        replace(tiny_config(), max_tokens=60, window_tokens=41)
    with pytest.raises(CheckpointError, match="max_tokens=7 must not be less than window_tokens=8"):
        replace(tiny_config(), max_tokens=7, window_tokens=8)
