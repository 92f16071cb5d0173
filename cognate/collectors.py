"""Metrics that are read at each scrape: the encoder's counters, index lag, and what waits in the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from encoder.engine import EngineStats
from encoder.lanes import WAIT_BOUNDS_S
from storage.progress_state import ProgressState

log = logging.getLogger(__name__)

LONGEST_READ_S = 2.0  # Prometheus gives a scrape ten seconds unless told otherwise


class EncoderCollector(Collector):
    """What the engine has done since it started, and what waits for it."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        yield CounterMetricFamily(
            "cognate_encoder_computed_tokens",
            "Tokens computed, with the padding of micro-batches",
            value=stats.tokens_computed,
        )
        yield CounterMetricFamily(
            "cognate_encoder_failed_batches", "Micro-batches that failed", value=stats.failed_batches
        )
        tokens = CounterMetricFamily("cognate_encoder_tokens", "Tokens encoded", labels=["lane"])
        waiting = GaugeMetricFamily("cognate_encoder_waiting_tokens", "Tokens that wait", labels=["lane"])
        waits = HistogramMetricFamily(
            "cognate_encoder_wait_seconds", "Time that requests waited for their turn", labels=["lane"]
        )
        for name, lane in (("interactive", stats.interactive), ("bulk", stats.bulk)):
            tokens.add_metric([name], lane.tokens)
            waiting.add_metric([name], lane.waiting_tokens)
            bounds = [*map(str, WAIT_BOUNDS_S), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(lane.waits)), strict=True))
            waits.add_metric([name], buckets, lane.wait_sum_s)
        yield from (tokens, waiting, waits)


class IndexCollector(Collector):
    """How far the indexes of this process are behind and what they find, and how many could not be saved."""

    def __init__(
        self,
        lag: Callable[[], Mapping[str, int]],
        recall: Callable[[], Mapping[str, float]],
        refused_snapshots: Callable[[], int],
    ) -> None:
        self._lag, self._recall, self._refused_snapshots = lag, recall, refused_snapshots

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "cognate_index_lag_changes",
            "Changes committed that searches on this process do not see yet",
            labels=["collection"],
        )
        for collection, changes in self._lag().items():
            family.add_metric([collection], changes)
        yield family
        recall = GaugeMetricFamily(
            "cognate_index_recall_at_10",
            "Share of the ten true best that searches find, measured after the last compaction",
            labels=["collection"],
        )
        for collection, share in self._recall().items():
            recall.add_metric([collection], share)
        yield recall
        yield _gauge(
            "cognate_index_snapshots_refused",
            "Collections whose last snapshot the disk refused",
            self._refused_snapshots(),
        )


class GaugesCollector(Collector):
    """Named values, each known at once or within a second."""

    def __init__(self, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"cognate_{name}", name.replace("_", " "), value=value)


class ProgressCollector(Collector):
    """What waits, runs and is done, over all processes. It is left out when the database does not tell."""

    def __init__(self, read: Callable[[], ProgressState]) -> None:
        self._read = BoundedRead(read)

    def collect(self) -> Iterator[Metric]:
        state = self._read.result()
        yield _gauge("cognate_database_up", "Whether the database answered this scrape in time", bool(state))
        if state is None:
            return
        yield _gauge("cognate_queued_batches", "Batches that wait for a worker", state.queued)
        yield _gauge("cognate_running_batches", "Batches under a lease", state.running)
        yield _gauge(
            "cognate_expired_leases", "Leases that ran out and were not taken over yet", state.expired
        )
        yield _gauge(
            "cognate_oldest_waiting_batch_age_seconds",
            "Age of the oldest batch that nobody works on; 0 when none waits",
            state.oldest_waiting_s,
        )
        jobs = GaugeMetricFamily("cognate_jobs", "Jobs that are kept, by state", labels=["state"])
        for job_state, count in state.jobs.items():
            jobs.add_metric([job_state.value], count)
        yield jobs


class BoundedRead:
    """A read that may hang, on a thread of its own; scrapes that come meanwhile wait for the same one."""

    def __init__(self, read: Callable[[], ProgressState], longest_s: float = LONGEST_READ_S) -> None:
        self._read = read
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._flight: Future[ProgressState] | None = None

    def result(self) -> ProgressState | None:
        """What was read, or None: the read failed or takes longer. At most one thread is ever stuck."""
        try:
            return self._started().result(self._longest_s)
        except Exception as error:  # a scrape must not fail for what it measures
            log.warning("no database state for metrics", extra={"error": f"{type(error).__name__}: {error}"})
            return None

    def _started(self) -> Future[ProgressState]:
        with self._lock:
            if self._flight is None:
                self._flight = Future()
                thread = threading.Thread(target=self._run, args=(self._flight,), name="metrics", daemon=True)
                thread.start()
            return self._flight

    def _run(self, flight: Future[ProgressState]) -> None:
        try:
            found, error = self._read(), None
        except Exception as failure:  # handed to who waits
            found, error = None, failure
        with self._lock:
            self._flight = None
        if found is None:
            flight.set_exception(error)
        else:
            flight.set_result(found)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
