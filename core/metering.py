"""What ingestion tells of itself, so that a process can count and time it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol


class IngestStage(StrEnum):
    """The steps between a claimed batch and documents that searches find."""

    ACCEPT = "accept"  # documents of one call checked and stored
    TOKENIZE = "tokenize"  # the passages of a batch, once whole and once more where they are cut
    CHUNK = "chunk"  # documents of a batch that are too long for one passage
    ENCODE = "encode"  # a batch encoded, waits for the encoder included
    WRITE = "write"  # the transaction that makes a batch searchable
    INDEX = "index"  # a page of the log applied to an index


class IngestMeter(Protocol):
    """Called from any thread; returns at once and raises nothing."""

    def took(self, stage: IngestStage, seconds: float) -> None: ...

    def settled(self, searchable: int, failed: int) -> None:
        """Documents of a batch that this process completed."""
        ...

    def took_over(self) -> None:
        """A batch was claimed whose lease had run out."""
        ...

    def dropped(self) -> None:
        """A lease was lost, and what was encoded under it is of no use."""
        ...

    def bisected(self) -> None:
        """A batch failed too often and was halved, or its last document failed."""
        ...


class ClassifierMeter(Protocol):
    """What trained classifiers do. Called from any thread; returns at once and raises nothing."""

    def trained(self, seconds: float) -> None:
        """A training made a version; its time from the job's beginning, encoding included."""
        ...

    def refitted(self, seconds: float) -> None:
        """Feedback made a version."""
        ...

    def predicted(self, answered: int, abstained: int) -> None:
        """Texts of one call."""
        ...

    def labelled(self, documents: int) -> None:
        """Documents that got a label from stored vectors, or on arrival."""
        ...


class GenerationMeter(Protocol):
    """What generation does. Called from any thread; returns at once and raises nothing."""

    def generated(self, task: str, tokens: int, seconds: float) -> None:
        """One call of the generator."""
        ...

    def dropped(self, task: str, reason: str) -> None:
        """A candidate was not let through; the reason is one of a few words."""
        ...

    def explained(self, kind: str, outcome: str) -> None:
        """A sentence was shown as an explanation, and what its verification said."""
        ...


class MetricSource(Protocol):
    """The metrics of one process as families of the Prometheus client."""

    def collect(self) -> Iterable[Any]:
        """Returns within seconds and raises nothing, whatever is away."""
        ...


class NoMeter:
    """Counts nothing."""

    def took(self, stage: IngestStage, seconds: float) -> None:
        pass

    def settled(self, searchable: int, failed: int) -> None:
        pass

    def took_over(self) -> None:
        pass

    def dropped(self) -> None:
        pass

    def bisected(self) -> None:
        pass


@contextmanager
def timed(meter: IngestMeter, stage: IngestStage) -> Iterator[None]:
    """Tells how long the block took, unless it raises."""
    started_s = time.perf_counter()
    yield
    meter.took(stage, time.perf_counter() - started_s)
