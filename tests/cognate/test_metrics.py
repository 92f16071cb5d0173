"""A scrape is answered in bounded time whatever hangs, and the listener refuses what it cannot bind."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cognate.collectors import BoundedRead, IndexCollector
from cognate.metrics import new_registry, served_metrics
from cognate.settings import Settings
from core.errors import StartRefused, Unavailable
from core.job_types import JobState
from storage.progress_state import ProgressState
from tests.production.processes import free_port

STATE = ProgressState(1, 2, 3, 4.0, dict.fromkeys(JobState, 0))
LONGEST_S = 0.2


def test_a_read_that_hangs_is_given_up_and_shared_until_it_ends() -> None:
    goes_on, reads = threading.Event(), []

    def hang() -> ProgressState:
        reads.append(1)
        goes_on.wait()
        return STATE

    read = BoundedRead(hang, LONGEST_S)
    started_s = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: read.result(), range(8))) == [None] * 8
    assert time.monotonic() - started_s < 10
    assert len(reads) == 1, "scrapes must not pile up on a database that hangs"
    goes_on.set()
    while read.result() is None:
        assert time.monotonic() - started_s < 10
    assert read.result() == STATE


def test_a_read_that_fails_is_told_as_nothing_and_tried_again_at_the_next_scrape() -> None:
    answers: list[ProgressState | Exception] = [Unavailable("away"), RuntimeError("odd"), STATE]

    def read() -> ProgressState:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bounded = BoundedRead(read)
    assert [bounded.result() for _ in range(3)] == [None, None, STATE]


def test_metrics_are_served_on_their_port_until_the_end_and_not_at_all_on_port_0() -> None:
    settings = Settings(metrics_port=free_port())
    url = f"http://127.0.0.1:{settings.metrics_port}/metrics"
    with served_metrics(Settings(), CollectorRegistry()), pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with served_metrics(settings, new_registry()):
        assert "python_info" in httpx.get(url).text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(metrics_port=taken.getsockname()[1])
        with (
            pytest.raises(StartRefused, match="COGNATE_METRICS_PORT"),
            served_metrics(settings, CollectorRegistry()),
        ):
            pass


def test_indexes_tell_lag_and_recall_by_collection() -> None:
    registry = CollectorRegistry()
    registry.register(IndexCollector(lambda: {"news": 3}, lambda: {"news": 0.97}, lambda: 1))
    labels = {"collection": "news"}
    assert registry.get_sample_value("cognate_index_lag_changes", labels) == 3
    assert registry.get_sample_value("cognate_index_recall_at_10", labels) == 0.97
    assert registry.get_sample_value("cognate_index_snapshots_refused") == 1
