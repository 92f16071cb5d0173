"""The Prometheus metrics of one process, beside those of HTTP, which the API counts itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from cognate.settings import Settings
from core.classifier_types import VersionOrigin
from core.errors import StartRefused
from core.generation_types import GenerationTask
from core.metering import IngestStage

VERSION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0, 1800.0)
GENERATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def new_registry() -> CollectorRegistry:
    """A registry with memory, CPU time, open files and garbage collection of this process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


class IngestMetrics:
    """Implements core.metering.IngestMeter. Series exist from the start, so that rates begin at zero."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stages = Histogram(
            "cognate_ingest_stage_seconds",
            "Time in the stages of ingest: of a batch, or of a page of the log for index",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._documents = Counter(
            "cognate_ingest_documents",
            "Documents of batches that this process completed",
            ["outcome"],
            registry=registry,
        )
        self._taken_over = Counter(
            "cognate_ingest_leases_taken_over",
            "Batches claimed after the lease of another had run out",
            registry=registry,
        )
        self._dropped = Counter(
            "cognate_ingest_results_dropped",
            "Batches whose lease was lost while this process worked on them",
            registry=registry,
        )
        self._bisected = Counter(
            "cognate_ingest_bisections", "Batches that failed too often and were halved", registry=registry
        )
        for stage in IngestStage:
            self._stages.labels(stage.value)
        for outcome in ("searchable", "failed"):
            self._documents.labels(outcome)

    def took(self, stage: IngestStage, seconds: float) -> None:
        self._stages.labels(stage.value).observe(seconds)

    def settled(self, searchable: int, failed: int) -> None:
        self._documents.labels("searchable").inc(searchable)
        self._documents.labels("failed").inc(failed)

    def took_over(self) -> None:
        self._taken_over.inc()

    def dropped(self) -> None:
        self._dropped.inc()

    def bisected(self) -> None:
        self._bisected.inc()


class ClassifierMetrics:
    """Implements core.metering.ClassifierMeter."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._versions = Histogram(
            "cognate_classifier_version_seconds",
            "Time to make a version of a classifier, from the beginning of its training or refit",
            ["origin"],
            buckets=VERSION_BUCKETS_S,
            registry=registry,
        )
        self._predictions = Counter(
            "cognate_classifier_predictions",
            "Texts that trained classifiers were asked about",
            ["outcome"],
            registry=registry,
        )
        self._labelled = Counter(
            "cognate_classifier_labelled_documents",
            "Documents that a classifier labelled from their vectors",
            registry=registry,
        )
        for origin in VersionOrigin:
            self._versions.labels(origin.value)
        for outcome in ("answered", "abstained"):
            self._predictions.labels(outcome)

    def trained(self, seconds: float) -> None:
        self._versions.labels(VersionOrigin.TRAINING.value).observe(seconds)

    def refitted(self, seconds: float) -> None:
        self._versions.labels(VersionOrigin.FEEDBACK.value).observe(seconds)

    def predicted(self, answered: int, abstained: int) -> None:
        self._predictions.labels("answered").inc(answered)
        self._predictions.labels("abstained").inc(abstained)

    def labelled(self, documents: int) -> None:
        self._labelled.inc(documents)


class GenerationMetrics:
    """Implements core.metering.GenerationMeter."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = Counter(
            "cognate_generated_tokens", "Tokens of generated texts", ["task"], registry=registry
        )
        self._seconds = Histogram(
            "cognate_generation_seconds",
            "Time of one call of the generator, with its wait for those before it",
            ["task"],
            buckets=GENERATION_BUCKETS_S,
            registry=registry,
        )
        self._dropped = Counter(
            "cognate_rewrites_dropped",
            "Generated rewrites that were not let through",
            ["task", "reason"],
            registry=registry,
        )
        self._explained = Counter(
            "cognate_explanations",
            "Sentences shown as explanations, and what verification said",
            ["kind", "outcome"],
            registry=registry,
        )
        for task in GenerationTask:
            self._tokens.labels(task.value)
            self._seconds.labels(task.value)

    def generated(self, task: str, tokens: int, seconds: float) -> None:
        self._tokens.labels(task).inc(tokens)
        self._seconds.labels(task).observe(seconds)

    def dropped(self, task: str, reason: str) -> None:
        self._dropped.labels(task, reason).inc()

    def explained(self, kind: str, outcome: str) -> None:
        self._explained.labels(kind, outcome).inc()


class ScheduleMetrics:
    """What the scheduler does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sent = Counter(
            "cognate_scheduler_sent", "Periodic tasks that Redis took", ["task"], registry=registry
        )

    def sent(self, task: str) -> None:
        self._sent.labels(task).inc()


@contextmanager
def served_metrics(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Serves /metrics on `metrics_port` inside the block, unless it is 0. Raises StartRefused.

    Plain HTTP without a key: bind it to loopback or to a network of your own.
    """
    if not settings.metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.host, registry)
    except OSError as error:
        raise StartRefused(
            f"Cannot bind {settings.host}:{settings.metrics_port} for metrics: {error.strerror}. Choose"
            " another port with COGNATE_METRICS_PORT (each process needs its own), or 0 for none."
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
