"""Reports and versions of classifiers as text and tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.table import Table

from cognate.client import Json

WORST_CLASSES = 20
PROBLEMS_SHOWN = 10
SUSPICIOUS_SHOWN = 5
CLASS_COLUMNS = ("precision", "recall", "f1", "mean_confidence")


def report_lines(report: Json) -> Iterator[str]:
    """The chief numbers, what is often confused, and what looks wrong with the examples."""
    calibration, abstention = report["calibration"], report["abstention"]
    yield (
        f"{report['examples']:,} examples of {report['labels']:,} labels; {report['split']['method']}, head:"
        f" {report['head'].get('kind', '?')}"
    )
    yield (
        f"accuracy {shown(report['accuracy'])}, macro-F1 {shown(report['macro_f1'])}, calibration error"
        f" {shown(calibration['ece'])}"
    )
    yield (
        f"not abstained: {shown(abstention['coverage'])} of the texts, with precision"
        f" {shown(abstention['precision'])}"
    )
    for problem in report["problems"][:PROBLEMS_SHOWN]:
        yield f"! {problem}"
    suspicious = report["suspicious_labels"]
    if suspicious["count"]:
        yield f"{suspicious['count']} labels look wrong, first:"
    for one in suspicious["examples"][:SUSPICIOUS_SHOWN]:
        text = " ".join(one["text"].split())[:100]
        yield f"  {_joined(one['given'])} -> {_joined(one['suggested'])} ({shown(one['confidence'])}): {text}"


def report_table(report: Json) -> Table:
    """The classes with the lowest F1 first."""
    classes = sorted(report["classes"], key=lambda row: row["f1"] or 0.0)
    title = "classes" if len(classes) <= WORST_CLASSES else f"the {WORST_CLASSES} classes with the lowest F1"
    table = Table("label", "examples", *CLASS_COLUMNS, title=title)
    for row in classes[:WORST_CLASSES]:
        table.add_row(row["label"], str(row["support"]), *(shown(row[column]) for column in CLASS_COLUMNS))
    return table


def versions_table(classifier: Json) -> Table:
    """Newest first; `*` marks the one that serves. It fits 80 columns."""
    table = Table("", "version", "origin", "head", "examples", "accuracy", "created_at", box=box.SIMPLE)
    for one in classifier["versions"]:
        metrics = one["metrics"]
        table.add_row(
            "*" if one["version"] == classifier["active_version"] else "",
            str(one["version"]),
            one["origin"],
            one["head"],
            f"{one['examples']} of {len(one['labels'])} labels",
            shown(metrics.get("accuracy")),
            one["created_at"][:16].replace("T", " "),
        )
    return table


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _joined(labels: list[Any]) -> str:
    return ", ".join(map(str, labels)) or "none"
