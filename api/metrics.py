"""Prometheus metrics of one app; each app has a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from core.metering import MetricSource

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests and search stages; the rest comes from `source` at each scrape."""

    def __init__(self, source: MetricSource) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Source(source))
        self._requests = Counter(
            "cognate_http_requests", "HTTP requests", ["method", "route", "status"], registry=self.registry
        )
        self._latency = Histogram(
            "cognate_http_request_seconds",
            "Time to answer HTTP requests",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "cognate_search_stage_seconds",
            "Time in the stages of a search",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        # Looking a label up takes several times as long as counting.
        self._requests_of = cache(self._requests.labels)
        self._latency_of = cache(self._latency.labels)
        self._stage_of = cache(self._stages.labels)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests_of(method, route, status).inc()
        self._latency_of(route).observe(seconds)

    def observe_stage(self, stage: str, milliseconds: float) -> None:
        self._stage_of(stage).observe(milliseconds / 1000)

    def render(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)


class _Source(Collector):
    def __init__(self, source: MetricSource) -> None:
        self._source = source

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._source.collect()
