"""What others wrote is shown as it is, and does nothing to a terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.table import Table

from cognate.terminal import Terminal


def shown(text: str) -> tuple[str, str]:
    """As a line, and as a cell of a table."""
    line, cell = StringIO(), StringIO()
    Terminal(file=line, force_terminal=True, width=60).print(text, highlight=False)
    table = Table.grid("")
    table.add_row(text)
    Terminal(file=cell, force_terminal=True, width=60).print(table)
    return line.getvalue().rstrip(), cell.getvalue().rstrip()


@pytest.mark.parametrize("text", ["rate [/h]", "at 4:100:3", ":smile:", "कृपया ‌ نمی‌خواهم"])
def test_a_text_is_neither_markup_nor_an_emoji(text: str) -> None:
    assert shown(text) == (text, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\x9b31mb", r"a\x9b31mb"),
        ("one\rtwo", "onetwo"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == (expected, expected)


def test_cells_of_a_table_are_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    written, cell = StringIO(), "2026-11-28T17:00:00Z"
    table = Table(*"abcdefg")
    table.add_row(*[cell] * 7)
    Terminal(file=written).print(table)
    assert written.getvalue().count(cell) == 7
    monkeypatch.setenv("COLUMNS", "60")
    assert Terminal(file=StringIO()).width == 60
