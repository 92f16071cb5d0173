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
    """The chief numbers, what is often confused, and what looks wrong with the examples.

    The report of a version that came from feedback has a note in the place of all numbers.
    """
    method = f"{report['split']['method']}, " if "split" in report else ""
    yield (
        f"{report['examples']:,} examples of {report['labels']:,} labels; {method}head:"
        f" {report['head'].get('kind', '?')}"
    )
    if "note" in report:
        yield report["note"]
    if report.get("accuracy") is not None:
        yield from _chief_numbers(report)
    for problem in report["problems"][:PROBLEMS_SHOWN]:
        yield f"! {problem}"
    yield from _suspicious(report.get("suspicious_labels") or {"count": 0, "examples": []})


def _chief_numbers(report: Json) -> Iterator[str]:
    abstention = report["abstention"]
    yield (
        f"accuracy {shown(report['accuracy'])}, macro-F1 {shown(report['macro_f1'])}, calibration error"
        f" {shown(report['calibration']['ece'])}"
    )
    yield (
        f"not abstained: {shown(abstention['coverage'])} of the texts, with precision"
        f" {shown(abstention['precision'])}"
    )


def _suspicious(suspicious: Json) -> Iterator[str]:
    if suspicious["count"]:
        yield f"{suspicious['count']} labels look wrong, first:"
    for one in suspicious["examples"][:SUSPICIOUS_SHOWN]:
        text = " ".join(one["text"].split())[:100]
        yield f"  {_joined(one['given'])} -> {_joined(one['suggested'])} ({shown(one['confidence'])}): {text}"


def report_table(report: Json) -> Table:
    """The classes with the lowest F1 first; of a report without such figures only their examples."""
    classes = sorted(report["classes"], key=lambda row: row.get("f1") or 0.0)
    columns = [column for column in CLASS_COLUMNS if any(row.get(column) is not None for row in classes)]
    told = "the {} classes with the lowest F1" if columns else "the first {} classes"
    table = Table("label", "examples", *columns, title=_title(told, len(classes)))
    for row in classes[:WORST_CLASSES]:
        table.add_row(row["label"], str(row["support"]), *(shown(row[column]) for column in columns))
    return table


def _title(of_some: str, classes: int) -> str:
    return "classes" if classes <= WORST_CLASSES else of_some.format(WORST_CLASSES)


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


def comparison_table(compared: Json) -> Table:
    """Each measure of two versions, and how much higher that of the second is."""
    first, second = compared["metrics"]["first"], compared["metrics"]["second"]
    table = Table("measure", f"version {compared['first']}", f"version {compared['second']}", "difference")
    for name in sorted(first.keys() | second.keys()):
        table.add_row(name, *(shown(of.get(name)) for of in (first, second, compared["differences"])))
    return table


def comparison_lines(compared: Json) -> Iterator[str]:
    """Labels that only one version has, and examples of which the two say different things."""
    for which in ("first", "second"):
        if labels := compared[f"labels_only_in_{which}"]:
            yield f"only in version {compared[which]}: {', '.join(labels)}"
    predictions = compared["predictions"]
    yield f"They differ on {predictions['differing']:,} of {predictions['examples']:,} examples."
    for one in predictions["shown"]:
        text = " ".join(one["text"].split())[:100]
        yield f"  {', '.join(one['first']) or 'none'} -> {', '.join(one['second']) or 'none'}: {text}"
