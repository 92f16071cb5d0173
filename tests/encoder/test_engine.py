"""The engine: lanes, budgets, isolation of failures, bounds and shutdown, on a backend told when to go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from core.errors import InvalidInput, Overloaded, Unavailable
from core.types import Float32, Lane
from encoder.backends.base import Int32
from encoder.engine import Engine, EngineSettings
from tests.encoder.fakes import (
    POISON,
    WAIT_S,
    FakeBackend,
    FakeClock,
    StreamsBackend,
    text_of,
    texts_of,
)

BULK, INTERACTIVE = Lane.BULK, Lane.INTERACTIVE


@contextmanager
def running(
    backend: FakeBackend, settings: EngineSettings | None = None, clock: FakeClock | None = None
) -> Iterator[Engine]:
    engine = Engine(backend, 2, settings, clock or FakeClock())
    try:
        yield engine
    finally:
        backend.release(1_000_000)
        engine.close()


@contextmanager
def running_streams(backend: StreamsBackend, settings: EngineSettings | None = None) -> Iterator[Engine]:
    engine = Engine(backend, 2, settings or EngineSettings(stream_batch_tokens=8))
    try:
        yield engine
    finally:
        backend.let_go.set()
        engine.close()


def hold_the_thread(engine: Engine, backend: FakeBackend) -> None:
    """Keeps the engine busy with a text 99, so that what is submitted next waits together."""
    engine.submit(texts_of([99]), BULK)
    backend.await_batch()


def test_vectors_come_back_in_the_order_of_the_texts_whatever_their_lengths() -> None:
    lengths = [3, 1, 7, 1, 5, 2]
    with running(FakeBackend(), EngineSettings(bulk_batch_tokens=8)) as engine:
        vectors = engine.encode([text_of(i, t) for i, t in enumerate(lengths)], BULK)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[i, t] for i, t in enumerate(lengths)]


def test_no_texts_give_an_empty_array() -> None:
    with running(FakeBackend()) as engine:
        assert engine.encode([], BULK).shape == (0, 2)


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("streams", [0, 2])
def test_a_text_without_tokens_is_its_senders_error_and_the_engine_goes_on(lane: Lane, streams: int) -> None:
    backend = StreamsBackend(streams)
    backend.let_go.set()
    nothing = np.empty(0, np.int32)
    with running_streams(backend) as engine:
        for texts in ([nothing], [text_of(1), nothing]):
            with pytest.raises(InvalidInput, match=f"Text {len(texts) - 1} has no tokens"):
                engine.encode(texts, lane)
            with pytest.raises(InvalidInput, match="has no tokens"):
                engine.submit(texts, lane)
        assert engine.submit([text_of(1)], lane).result(WAIT_S)[:, 0].tolist() == [1]


def test_batches_stay_within_the_token_budget_padding_included() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend, EngineSettings(bulk_batch_tokens=12)) as engine:
        hold_the_thread(engine, backend)
        done = engine.submit([text_of(i, 1 + i % 6) for i in range(30)], BULK)
        backend.release(1_000_000)
        done.result(WAIT_S)
    assert max(backend.sizes) <= 12
    assert len(backend.sizes) < 20


def test_a_text_over_the_budget_is_encoded_alone() -> None:
    with running(FakeBackend(), EngineSettings(bulk_batch_tokens=4)) as engine:
        assert engine.encode([text_of(5, 9)], BULK).tolist() == [[5, 9]]


def test_waiting_texts_of_different_callers_share_a_batch() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend) as engine:
        hold_the_thread(engine, backend)
        waiting = [engine.submit(texts_of([i]), INTERACTIVE) for i in range(5)]
        backend.release(2)
        assert [future.result(WAIT_S).tolist() for future in waiting] == [[[i, 1]] for i in range(5)]
    assert sorted(backend.batches[1]) == [0, 1, 2, 3, 4]


def test_interactive_work_goes_before_bulk_work_that_came_earlier() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend) as engine:
        hold_the_thread(engine, backend)
        bulk = engine.submit(texts_of([1]), BULK)
        interactive = engine.submit(texts_of([2]), INTERACTIVE)
        backend.release(3)
        bulk.result(WAIT_S)
        interactive.result(WAIT_S)
    assert backend.batches == [[99], [2], [1]]


def test_bulk_work_gets_a_turn_after_a_run_of_interactive_batches() -> None:
    backend = FakeBackend(is_open=False)
    settings = EngineSettings(interactive_batch_tokens=1, interactive_run=3)
    with running(backend, settings) as engine:
        hold_the_thread(engine, backend)
        bulk = engine.submit(texts_of([1]), BULK)
        interactive = [engine.submit(texts_of([2]), INTERACTIVE) for _ in range(7)]
        backend.release(1_000_000)
        for future in [bulk, *interactive]:
            future.result(WAIT_S)
    assert backend.batches == [[99], [2], [2], [2], [1], [2], [2], [2], [2]]


def test_bulk_batches_are_small_for_a_while_after_an_interactive_request() -> None:
    backend, clock = FakeBackend(), FakeClock()
    settings = EngineSettings(bulk_batch_tokens=8, bulk_batch_tokens_busy=2, busy_s=1.0)
    with running(backend, settings, clock) as engine:
        engine.encode(texts_of(range(8)), BULK)
        assert backend.sizes == [8]
        engine.encode(texts_of([0]), INTERACTIVE)
        clock.now_s += 0.9
        engine.encode(texts_of(range(8)), BULK)
        assert backend.sizes[2:] == [2, 2, 2, 2]
        clock.now_s += 0.2
        engine.encode(texts_of(range(8)), BULK)
        assert backend.sizes[6:] == [8]


def test_a_large_interactive_request_does_not_hold_up_a_small_one() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend, EngineSettings(interactive_batch_tokens=4)) as engine:
        hold_the_thread(engine, backend)
        large = engine.submit(texts_of([1] * 40), INTERACTIVE)
        small = engine.submit(texts_of([2]), INTERACTIVE)
        backend.release(2)
        small.result(WAIT_S)
        assert not large.done()


def test_a_short_text_is_not_passed_over_for_ever_new_long_ones() -> None:
    backend = FakeBackend(is_open=False)
    settings = EngineSettings(bulk_batch_tokens=8, bulk_window_tokens=8)
    with running(backend, settings) as engine:
        hold_the_thread(engine, backend)
        engine.submit([text_of(1, 8)], BULK)
        short = engine.submit([text_of(2, 1)], BULK)
        for _ in range(20):
            engine.submit([text_of(1, 8)], BULK)
        backend.release(3)
        assert short.result(WAIT_S).tolist() == [[2, 1]]


def test_a_failure_reaches_only_the_caller_whose_texts_caused_it() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend) as engine:
        hold_the_thread(engine, backend)
        good = engine.submit(texts_of([1, 2]), INTERACTIVE)
        bad = engine.submit(texts_of([POISON, 3]), INTERACTIVE)
        also_good = engine.submit(texts_of([4]), INTERACTIVE)
        backend.release(1_000_000)
        assert good.result(WAIT_S).tolist() == [[1, 1], [2, 1]]
        assert also_good.result(WAIT_S).tolist() == [[4, 1]]
        with pytest.raises(ValueError, match="poisoned"):
            bad.result(WAIT_S)
        assert sorted(backend.batches[1]) == [1, 2, 3, 4, POISON]
        assert engine.encode(texts_of([5]), INTERACTIVE).tolist() == [[5, 1]]


def test_a_request_that_failed_is_not_continued() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend, EngineSettings(bulk_batch_tokens=8)) as engine:
        hold_the_thread(engine, backend)
        bad = engine.submit([text_of(POISON, 8), *texts_of(range(16))], BULK)
        backend.release(1_000_000)
        with pytest.raises(ValueError, match="poisoned"):
            bad.result(WAIT_S)
        engine.encode(texts_of([7]), INTERACTIVE)
        assert engine.encode(texts_of([8]), BULK).tolist() == [[8, 1]]
        assert engine.stats().bulk.waiting_tokens == 0
    assert backend.batches == [[99], [POISON], [7], [8]]


def test_vectors_that_are_not_finite_are_an_error() -> None:
    class Broken(FakeBackend):
        def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
            return super().forward(token_ids, lengths) * np.float32(np.nan)

    with running(Broken()) as engine, pytest.raises(FloatingPointError, match="not finite"):
        engine.encode(texts_of([1]), BULK)


def test_a_full_interactive_queue_refuses_at_once_and_states_its_limit() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend, EngineSettings(max_waiting_interactive_tokens=4)) as engine:
        hold_the_thread(engine, backend)
        waiting = engine.submit(texts_of([1, 2, 3]), INTERACTIVE)
        with pytest.raises(Overloaded, match=r"interactive queue holds 3 tokens .* has 2; at most 4"):
            engine.submit(texts_of([4, 5]), INTERACTIVE)
        backend.release(1_000_000)
        assert len(waiting.result(WAIT_S)) == 3
        assert len(engine.encode(texts_of([4, 5]), INTERACTIVE)) == 2


def test_a_bulk_caller_waits_for_room_and_then_goes_on() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend, EngineSettings(max_waiting_bulk_tokens=4)) as engine, ThreadPoolExecutor(1) as pool:
        hold_the_thread(engine, backend)
        first = engine.submit(texts_of([1, 2, 3]), BULK)
        second = pool.submit(engine.encode, texts_of([4, 5]), BULK)
        backend.release(2)
        assert len(first.result(WAIT_S)) == 3
        backend.release(1)
        assert len(second.result(WAIT_S)) == 2
    assert [sorted(batch) for batch in backend.batches] == [[99], [1, 2, 3], [4, 5]]


def test_a_bulk_caller_is_refused_after_its_timeout() -> None:
    backend = FakeBackend(is_open=False)
    settings = EngineSettings(max_waiting_bulk_tokens=4, bulk_timeout_s=0.01)
    with running(backend, settings) as engine:
        hold_the_thread(engine, backend)
        engine.submit(texts_of([1, 2, 3]), BULK)
        with pytest.raises(Overloaded, match="bulk queue"):
            engine.submit(texts_of([4, 5]), BULK)


def test_a_request_larger_than_the_queue_is_taken_when_the_queue_is_empty() -> None:
    with running(FakeBackend(), EngineSettings(max_waiting_bulk_tokens=4)) as engine:
        assert len(engine.encode(texts_of(range(9)), BULK)) == 9


def test_a_cancelled_request_is_never_computed() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend) as engine:
        hold_the_thread(engine, backend)
        cancelled = engine.submit(texts_of([1]), BULK)
        kept = engine.submit(texts_of([2]), BULK)
        assert cancelled.cancel()
        backend.release(2)
        assert kept.result(WAIT_S).tolist() == [[2, 1]]
        assert engine.stats().bulk.waiting_tokens == 0
    assert backend.batches == [[99], [2]]


def test_a_blocking_search_that_finds_the_engine_idle_runs_on_its_own_thread() -> None:
    backend = FakeBackend()
    with running(backend) as engine:
        engine.encode(texts_of([1]), INTERACTIVE)
        engine.encode(texts_of([2]), BULK)
    assert backend.threads == [threading.current_thread().name, "encoder-engine"]


def test_a_backend_that_needs_one_thread_gets_it() -> None:
    backend = FakeBackend(needs_one_thread=True)
    with running(backend) as engine:
        engine.encode(texts_of([1]), INTERACTIVE)
    assert backend.threads == ["encoder-engine"]


def test_what_arrives_while_a_search_runs_on_its_own_thread_shares_the_next_batch() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend) as engine, ThreadPoolExecutor(1) as pool:
        first = pool.submit(engine.encode, texts_of([1]), INTERACTIVE)
        backend.await_batch()
        waiting = [engine.submit(texts_of([i]), INTERACTIVE) for i in (2, 3)]
        backend.release(2)
        assert [f.result(WAIT_S).tolist() for f in (first, *waiting)] == [[[1, 1]], [[2, 1]], [[3, 1]]]
    assert [sorted(batch) for batch in backend.batches] == [[1], [2, 3]]


def test_closing_waits_for_a_search_that_runs_on_its_own_thread() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend) as engine, ThreadPoolExecutor(1) as pool:
        running_one = pool.submit(engine.encode, texts_of([1]), INTERACTIVE)
        backend.await_batch()
        engine.close(wait=False)
        backend.release(1)
        engine.close()
        assert running_one.result(WAIT_S).tolist() == [[1, 1]]


def test_a_failure_on_the_callers_own_thread_leaves_the_engine_working() -> None:
    with running(FakeBackend()) as engine:
        with pytest.raises(ValueError, match="poisoned"):
            engine.encode(texts_of([POISON]), INTERACTIVE)
        assert engine.encode(texts_of([1]), BULK).tolist() == [[1, 1]]


def test_closing_fails_what_waits_and_refuses_what_comes() -> None:
    backend = FakeBackend(is_open=False)
    engine = Engine(backend, 2)
    hold_the_thread(engine, backend)
    waiting = engine.submit(texts_of([1]), INTERACTIVE)
    waiting_bulk = engine.submit(texts_of([2]), BULK)
    engine.close(wait=False)
    backend.release(1)
    engine.close()
    for future in (waiting, waiting_bulk):
        with pytest.raises(Unavailable, match="stopped"):
            future.result(WAIT_S)
    with pytest.raises(Unavailable, match="stopping"):
        engine.submit(texts_of([3]), BULK)
    assert backend.batches == [[99]]


def test_closing_wakes_a_bulk_caller_that_waits_for_room() -> None:
    backend = FakeBackend(is_open=False)
    with running(backend, EngineSettings(max_waiting_bulk_tokens=2)) as engine, ThreadPoolExecutor(1) as pool:
        hold_the_thread(engine, backend)
        engine.submit(texts_of([1, 2]), BULK)
        blocked = pool.submit(engine.submit, texts_of([3]), BULK)
        engine.close(wait=False)
        with pytest.raises(Unavailable):
            blocked.result(WAIT_S)


def test_many_threads_each_get_their_own_vectors() -> None:
    def call(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, 9, 20).tolist()
        firsts = rng.integers(700, 10_000, 20).tolist()
        lane = BULK if seed % 2 else INTERACTIVE
        texts = [text_of(first, t) for first, t in zip(firsts, lengths, strict=True)]
        expected = np.stack([firsts, lengths], axis=1)
        return np.array_equal(engine.encode(texts, lane), expected)

    settings = EngineSettings(interactive_batch_tokens=32, bulk_batch_tokens=64, bulk_window_tokens=256)
    with running(FakeBackend(), settings) as engine, ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call, range(200)))
        assert engine.stats().interactive.requests == 100


def test_counters_tell_useful_from_computed_tokens_and_how_long_requests_waited() -> None:
    backend, clock = FakeBackend(is_open=False), FakeClock()
    with running(backend, EngineSettings(), clock) as engine:
        hold_the_thread(engine, backend)
        done = engine.submit([text_of(1, 4), text_of(2, 2)], INTERACTIVE)
        assert engine.stats().interactive.waiting_tokens == 6
        assert engine.stats().interactive.waiting_requests == 1
        clock.now_s += 0.2
        backend.release(2)
        done.result(WAIT_S)
        stats = engine.stats()
    assert (stats.batches, stats.failed_batches) == (2, 0)
    assert (stats.tokens_useful, stats.tokens_computed) == (7, 9)
    assert (stats.interactive.requests, stats.bulk.requests) == (1, 1)
    assert stats.interactive.wait_sum_s == pytest.approx(0.2)
    assert stats.interactive.waits[8] == 1  # over 0.1 s, at most 0.25 s
    assert stats.interactive.waiting_tokens == 0


def test_a_search_runs_beside_bulk_work_on_streams_instead_of_waiting_for_it() -> None:
    backend = StreamsBackend(2)
    with running_streams(backend) as engine:
        bulk = engine.submit([text_of(i, 8) for i in (1, 2)], BULK)
        backend.await_streams(2)
        assert engine.encode(texts_of([3]), INTERACTIVE).tolist() == [[3, 1]]
        assert not bulk.done()
        backend.let_go.set()
        assert bulk.result(WAIT_S).tolist() == [[1, 8], [2, 8]]
    assert backend.batches == [[3]]


def test_streams_share_the_texts_of_one_request_and_take_powers_of_two() -> None:
    backend = StreamsBackend(3)
    backend.let_go.set()
    firsts = list(range(700, 1000))
    with running_streams(backend, EngineSettings(stream_batch_tokens=24)) as engine:
        vectors = engine.encode(texts_of(firsts, tokens=3), BULK)
    assert vectors.tolist() == [[first, 3] for first in firsts]
    assert {len(firsts) for _, firsts in backend.streamed} <= {1, 2, 4, 8}
    assert backend.batches == []


def test_a_request_fails_once_though_two_streams_fail_with_its_texts() -> None:
    backend = StreamsBackend(2)
    with running_streams(backend, EngineSettings(stream_batch_tokens=1)) as engine:
        bad = engine.submit(texts_of([POISON, POISON]), BULK)
        backend.await_streams(2)
        backend.let_go.set()
        with pytest.raises(ValueError, match="poisoned"):
            bad.result(WAIT_S)
        assert engine.encode(texts_of([1]), BULK).tolist() == [[1, 1]]


def test_closing_waits_for_streams_and_fails_what_they_did_not_begin() -> None:
    backend = StreamsBackend(1)
    engine = Engine(backend, 2, EngineSettings(bulk_window_tokens=1))
    begun = engine.submit(texts_of([1]), BULK)
    backend.await_streams(1)
    waiting = engine.submit(texts_of([2]), BULK)
    engine.close(wait=False)
    backend.let_go.set()
    engine.close()
    assert begun.result(WAIT_S).tolist() == [[1, 1]]
    with pytest.raises(Unavailable, match="stopped"):
        waiting.result(WAIT_S)


@pytest.mark.parametrize("texts", [1, 3])
def test_searches_go_on_while_bulk_work_holds_its_lock(texts: int) -> None:
    backend = StreamsBackend(2)
    with running_streams(backend) as engine, ThreadPoolExecutor(1) as pool:
        engine.submit(texts_of([1, 2]), BULK)
        with engine._bulk_changed:  # as a stream that waits for the interpreter does
            search = pool.submit(engine.encode, texts_of(list(range(texts))), INTERACTIVE)
            assert search.result(WAIT_S)[:, 0].tolist() == list(range(texts))


def test_of_two_who_feed_streams_one_has_all_its_vectors_before_the_other_has_any() -> None:
    backend = StreamsBackend(1)
    settings = EngineSettings(stream_batch_tokens=8, bulk_window_tokens=64)
    with running_streams(backend, settings) as engine:
        engine.submit(texts_of([0], tokens=8), BULK)  # keeps the stream until both have come
        backend.await_streams(1)
        first, second = (
            engine.submit(texts_of(list(range(start, start + 8)), tokens=8), BULK) for start in (10, 20)
        )
        backend.let_go.set()
        first.result(WAIT_S)
        second.result(WAIT_S)
    order = [number for _, firsts in backend.streamed for number in firsts]
    assert [number // 10 for number in order] == [0] + [1] * 8 + [2] * 8
