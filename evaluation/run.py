"""Runs a system over data sets of any kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from core.errors import CognateError, InvalidInput
from evaluation.classification import evaluate_classification
from evaluation.datasets import ClassificationSet, DataSet, RetrievalSet
from evaluation.results import Report, Result
from evaluation.retrieval import evaluate_retrieval
from evaluation.similarity import evaluate_similarity
from evaluation.systems import Progress, System


def evaluate(
    system: System,
    data_sets: Iterable[DataSet],
    progress: Progress,
    on_result: Callable[[Report], None] = lambda _: None,
) -> Report:
    """One result a data set, in order; after each, `on_result` is given the report so far.

    What is raised names the data set.
    """
    report = Report(system.name, system.settings, ())
    for data in data_sets:
        report = replace(report, results=(*report.results, _timed(system, data, progress)))
        on_result(report)
    return report


def check_names(data_sets: Sequence[DataSet]) -> None:
    """Raises InvalidInput when two data sets share a name: their results could not be told apart."""
    names = [data.name for data in data_sets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"Two of the paths are named {twice[0]!r}; rename one, or evaluate it apart.")


def _timed(system: System, data: DataSet, progress: Progress) -> Result:
    started = time.perf_counter()

    def show(what: str, done: int, total: int) -> None:
        progress(f"{data.name}: {what}", done, total)

    try:
        result = _of_kind(system, data, show)
    except CognateError as error:
        error.args = (f"{data.name}: {error}",)
        raise
    return replace(result, took_s=time.perf_counter() - started)


def _of_kind(system: System, data: DataSet, show: Progress) -> Result:
    if isinstance(data, RetrievalSet):
        return evaluate_retrieval(data, system, show)
    if isinstance(data, ClassificationSet):
        return evaluate_classification(data, system, show)
    return evaluate_similarity(data, system, show)
