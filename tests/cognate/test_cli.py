"""What a mistake looks like on the command line."""

from __future__ import annotations

import sys

import pytest

from cognate import cli


def ended(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What is told by a command that ends with status 1."""
    monkeypatch.setattr(sys, "argv", ["cognate", *argv])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    return capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["classify", "x", "--label", "a", "--label", "b", "-o", "/nonexistent/o.csv"]
    told = ended(argv, monkeypatch, capsys)
    assert told == "error: /nonexistent/o.csv: No such file or directory.\n"


def test_bytes_that_are_not_utf_8_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ended(["search", "a\udcff", "-c", "news"], monkeypatch, capsys)
    assert told.startswith("error: An argument or a file name")


def test_an_error_without_a_file_is_ours_and_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("a defect")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="a defect"):
        cli.main()
