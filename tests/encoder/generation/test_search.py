"""Greedy search, beams and draws over a tiny random model, against what can be worked out by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.generation_types import FinishReason, Generated, GenerationOptions
from encoder.generation.beam import beam_search
from encoder.generation.choosing import drawn, penalised
from encoder.generation.search import generate, rows_a_source
from tests.encoder.generation.fakes import END, RandomModel, all_texts, ending, letters, options

START = 3
SOURCES = st.lists(st.integers(0, 10_000), min_size=1, max_size=5)


def run(
    sources: list[int], chosen: GenerationOptions, max_tokens: int = 8, vocab_size: int = 6
) -> list[list[Generated]]:
    starts = np.full(len(sources), START, np.int32)
    return generate(RandomModel(sources, vocab_size), starts, ending(max_tokens, chosen.stop), chosen)


@given(SOURCES)
def test_greedy_takes_the_most_probable_token_at_every_step(sources: list[int]) -> None:
    model = RandomModel(sources)
    for source, (text,) in zip(sources, run(sources, options()), strict=True):
        tokens: list[int] = []
        while len(tokens) < 8 and END not in tokens:
            tokens.append(int(model.log_probs((source, START, *tokens)).argmax()))
        assert text.text == letters(tokens).strip()
        assert text.tokens == len(tokens)
        assert text.finish is (FinishReason.STOP if tokens[-1] == END else FinishReason.LENGTH)
        assert text.score == pytest.approx(model.log_prob(source, START, tokens) / len(tokens), abs=1e-5)


@given(SOURCES, st.floats(0, 2))
def test_a_beam_of_one_is_greedy(sources: list[int], length_penalty: float) -> None:
    model = RandomModel(sources)
    starts = np.full(len(sources), START, np.int32)
    chosen = options(length_penalty=length_penalty)
    beams = beam_search(model, starts, ending(), chosen, width=1)
    greedy = run(sources, chosen)
    assert [letters(found.tokens) for (found,) in beams] == [found.text for (found,) in greedy]
    assert [found.finish for (found,) in beams] == [found.finish for (found,) in greedy]


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0, 2))
def test_a_beam_as_wide_as_all_texts_finds_the_best_of_all(source: int, length_penalty: float) -> None:
    vocab_size, max_tokens = 4, 3
    model = RandomModel([source], vocab_size)
    every = list(all_texts(vocab_size, max_tokens))
    expected = sorted(
        (model.log_prob(source, START, t) / len(t) ** length_penalty for t in every), reverse=True
    )
    chosen = options(n=16, length_penalty=length_penalty)
    (found,) = beam_search(
        model, np.array([START], np.int32), ending(max_tokens), chosen, width=len(every) + 1
    )
    assert len(found) >= 16  # a search stops at the n best; the rest may be left out
    assert [one.rank for one in found[:16]] == pytest.approx(expected[:16], abs=1e-5)
    assert len({one.tokens for one in found}) == len(found)


@given(SOURCES, st.integers(2, 5), st.floats(0, 2))
def test_a_beams_score_is_the_sum_of_its_steps_divided_by_the_length(
    sources: list[int], width: int, length_penalty: float
) -> None:
    model = RandomModel(sources)
    starts = np.full(len(sources), START, np.int32)
    chosen = options(length_penalty=length_penalty)
    for source, found in zip(sources, beam_search(model, starts, ending(), chosen, width), strict=True):
        assert 1 <= len(found) <= width
        assert [one.rank for one in found] == sorted((one.rank for one in found), reverse=True)
        for one in found:
            total = model.log_prob(source, START, one.tokens)
            assert one.log_prob == pytest.approx(total, abs=1e-4)
            assert one.rank == pytest.approx(total / len(one.tokens) ** length_penalty, abs=1e-4)


OPTIONS = st.sampled_from(
    [
        options(),
        options(beams=3, n=2),
        options(beams=4, length_penalty=0.5, repetition_penalty=1.4),
        options(temperature=0.9, top_p=0.9, n=3, seed=5),
        options(temperature=1.4, top_k=3, seed=6),
        options(beams=2, no_repeat_ngram=2),
        options(stop=("ab", "c"), beams=3, n=3),
        options(stop=("ba",)),
    ]
)


@given(SOURCES, OPTIONS)
def test_a_batch_gives_what_its_sources_give_alone(sources: list[int], chosen: GenerationOptions) -> None:
    assert run(sources, chosen) == [run([source], chosen)[0] for source in sources]


def test_sources_that_are_done_leave_the_batch() -> None:
    for chosen in (options(), options(beams=3), options(temperature=1.0, n=2)):
        model = RandomModel(list(range(12)))
        generate(model, np.full(12, START, np.int32), ending(30), chosen)
        rows = model.rows_at_step
        assert rows[-1] < max(rows)
        assert max(rows) <= 12 * rows_a_source(chosen)
        if chosen.beams == 1 and not chosen.temperature:
            assert rows == sorted(rows, reverse=True)


@given(SOURCES, st.integers(1, 6), st.sampled_from([{"beams": 4}, {"temperature": 1.5}, {"beams": 1}]))
def test_texts_of_a_source_are_distinct_and_the_best_comes_first(
    sources: list[int], n: int, how: dict[str, object]
) -> None:
    for found in run(sources, options(n=n, **how)):
        assert 1 <= len(found) <= n
        assert len({text.text for text in found}) == len(found)
        assert [text.score for text in found] == sorted((text.score for text in found), reverse=True)


def test_more_texts_than_beams_widen_the_beam() -> None:
    (found,) = run([1], options(n=5, beams=1))
    assert len(found) == 5


@given(SOURCES, st.integers(0, 2**62))
def test_a_seed_gives_the_same_texts_again(sources: list[int], seed: int) -> None:
    chosen = options(temperature=1.2, n=2, seed=seed)
    assert run(sources, chosen) == run(sources, chosen)


def test_other_seeds_give_other_texts() -> None:
    texts = {run([1], options(temperature=1.5, seed=seed))[0][0].text for seed in range(20)}
    assert len(texts) > 5


@given(st.integers(0, 10_000), st.integers(1, 3), st.sampled_from([1, 3]))
def test_no_n_gram_is_repeated(source: int, n: int, beams: int) -> None:
    for text in run([source], options(no_repeat_ngram=n, beams=beams), max_tokens=20, vocab_size=4)[0]:
        grams = Counter(text.text[i : i + n] for i in range(len(text.text) - n + 1))
        assert max(grams.values(), default=1) == 1


def test_a_repetition_penalty_multiplies_the_log_probability_of_what_was_seen_once() -> None:
    log_probs = np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], np.float32))
    found = penalised(log_probs, np.array([[1, 1], [0, 3]], np.int32), options(repetition_penalty=2.0))
    expected = log_probs * np.array([[1, 2, 1, 1], [2, 1, 1, 2]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def draw_many(p: list[float], chosen: GenerationOptions, count: int = 40_000) -> np.ndarray:
    """Shares of the tokens among many draws."""
    log_probs = np.log(np.tile(np.array(p, np.float32), (count, 1)))
    uniforms = np.random.default_rng(0).random(count)
    return np.bincount(drawn(log_probs, chosen, uniforms), minlength=len(p)) / count


P = [0.1, 0.4, 0.05, 0.3, 0.15]


def test_draws_follow_the_distribution() -> None:
    np.testing.assert_allclose(draw_many(P, options(temperature=1.0)), P, atol=0.01)


def test_a_temperature_raises_the_distribution_to_its_inverse() -> None:
    sharp = np.array(P) ** 2
    np.testing.assert_allclose(draw_many(P, options(temperature=0.5)), sharp / sharp.sum(), atol=0.01)


def test_top_k_draws_from_the_k_most_probable_tokens() -> None:
    found = draw_many(P, options(temperature=1.0, top_k=2))
    np.testing.assert_allclose(found, [0, 4 / 7, 0, 3 / 7, 0], atol=0.01)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 3, 4])])
def test_top_p_draws_from_the_fewest_tokens_that_hold_it(top_p: float, kept: list[int]) -> None:
    found = draw_many(P, options(temperature=1.0, top_p=top_p))
    expected = np.zeros(5)
    expected[kept] = np.array(P)[kept]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.01)


def test_a_temperature_near_zero_takes_the_most_probable_token() -> None:
    assert draw_many(P, options(temperature=1e-4), 100)[1] == 1


def test_a_text_ends_before_its_stop_text() -> None:
    stopped = 0
    for source in range(200):
        whole = run([source], options())[0][0]
        (cut,) = run([source], options(stop=("ab", "d")))[0]
        places = [whole.text.find(stop) for stop in ("ab", "d") if stop in whole.text]
        assert cut.text == (whole.text[: min(places)] if places else whole.text)
        if places:
            assert cut.finish is FinishReason.STOP
            assert cut.tokens <= whole.tokens
            stopped += 1
    assert stopped > 20


def test_no_text_is_longer_than_the_most_tokens() -> None:
    for chosen in (options(), options(beams=4), options(temperature=1.0)):
        for found in run(list(range(20)), chosen, max_tokens=1):
            assert all(text.tokens == 1 for text in found)


def test_a_draw_at_next_to_no_temperature_is_the_most_probable_token() -> None:
    log_probs = np.array([[-3.0, -0.1, -5.0]], np.float32)
    chosen = options(temperature=1e-310)
    assert drawn(log_probs, chosen, np.array([0.99])).tolist() == [1]
