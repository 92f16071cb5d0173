"""Reports and comparisons as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from evaluation.comparison import Difference
from evaluation.results import Measure, Report
from evaluation.significance import METHOD


def report_table(report: Report) -> Table:
    """One row a measure; ± is the deviation over the seeds. Notes of the data sets are in the caption."""
    notes = [f"{result.data_set}: {note}" for result in report.results for note in result.notes]
    table = Table("data set", "measure", title=report.system, caption="\n".join(notes) or None)
    for heading in ("value", "±", "items", "seconds"):
        table.add_column(heading, justify="right")
    for result in report.results:
        for number, measure in enumerate(result.measures):
            first = (result.data_set, f"{result.took_s:.1f}") if number == 0 else ("", "")
            table.add_row(first[0], measure.name, *_cells(measure), first[1])
        table.add_section()
    return table


def comparison_table(ours: Report, theirs: Report, differences: Sequence[Difference]) -> Table:
    """One row a measure of both; p-values come with their method."""
    table = Table("data set", "measure", title=f"A = {ours.system}\nB = {theirs.system}", caption=METHOD)
    for heading in ("A", "B", "A - B", "p"):
        table.add_column(heading, justify="right")
    last = ""
    for row in differences:
        if last not in ("", row.data_set):
            table.add_section()
        p = "" if row.p is None else f"{row.p:.4f}"
        values = (f"{row.ours:.4f}", f"{row.theirs:.4f}", f"{row.difference:+.4f}", p)
        table.add_row(row.data_set if row.data_set != last else "", row.measure, *values)
        last = row.data_set
    return table


def _cells(measure: Measure) -> tuple[str, str, str]:
    spread = "" if measure.std is None else f"{measure.std:.4f}"
    return f"{measure.value:.4f}", spread, f"{len(measure.items):,}" if measure.items else ""
