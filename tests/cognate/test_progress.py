"""Progress where no terminal shows a bar, and interrupts."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from cognate.client import Client
from cognate.progress import follow_jobs, plain_lines


def told(every_s: float, is_terminal: bool) -> list[str]:
    written = StringIO()
    tell = plain_lines(Console(file=written, force_terminal=is_terminal), every_s)
    for step in range(3):
        tell(f"step [{step}]")
    return written.getvalue().splitlines()


def test_a_log_gets_a_line_now_and_then() -> None:
    assert told(1000.0, is_terminal=False) == ["step [0]"]
    assert told(0.0, is_terminal=False) == ["step [0]", "step [1]", "step [2]"]


def test_a_terminal_has_its_bar_instead_but_not_one_that_cannot_move_its_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert told(0.0, is_terminal=True) == []
    monkeypatch.setenv("TERM", "dumb")
    assert told(0.0, is_terminal=True) == ["step [0]", "step [1]", "step [2]"]


def test_an_interrupt_says_that_the_job_goes_on_and_how_to_follow_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "follow", interrupt)
    with pytest.raises(KeyboardInterrupt):
        follow_jobs(Client("http://server"), ["18ec"], Console(file=StringIO()), "rows.csv")
    assert capsys.readouterr().err == "The job goes on; follow it with: cognate jobs 18ec --follow\n"
