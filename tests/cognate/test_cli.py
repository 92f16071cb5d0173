"""What a mistake looks like on the command line."""

from __future__ import annotations

import errno
import os
import sys

import pytest
from typer.testing import CliRunner

from cognate import __version__, cli
from cognate.client import Client
from cognate.terminal import Terminal


def ended(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What is told by a command that ends with status 1."""
    monkeypatch.setattr(sys, "argv", ["cognate", *argv])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    return capsys.readouterr().err


def test_the_version_is_told() -> None:
    told = CliRunner().invoke(cli.app, ["--version"])
    assert (told.exit_code, told.output) == (0, f"cognate {__version__}\n")


def test_a_file_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["classify", "x", "--label", "a", "--label", "b", "-o", "/nonexistent/o.csv"]
    told = ended(argv, monkeypatch, capsys)
    assert told == "error: /nonexistent/o.csv: No such file or directory.\n"


def test_output_for_which_there_is_no_room_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cli, "app", fail)
    told = ended(["search"], monkeypatch, capsys)
    assert told == "error: Nothing more can be written: No space left on device.\n"


def test_bytes_that_are_not_utf_8_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ended(["search", "a\udcff", "-c", "news"], monkeypatch, capsys)
    assert told.startswith("error: An argument or a file name")


def test_output_in_an_encoding_that_lacks_its_characters_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", lambda: "\u2603".encode("latin-1"))
    assert "set PYTHONIOENCODING=utf-8" in ended(["search"], monkeypatch, capsys)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--url", "localhost:8000", "is no address of a server"),
        ("--url", "http://localhost:80a", "is no address of a server"),
        ("--api-key", "schl\u00fcssel", "characters that no key has"),
        ("--api-key", "key\n", "characters that no key has"),
    ],
)
def test_an_address_or_a_key_that_cannot_be_one_is_told(
    option: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in ended(["jobs", option, value], monkeypatch, capsys)


def test_an_error_without_a_file_is_ours_and_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("a defect")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="a defect"):
        cli.main()


def test_jobs_are_listed_with_whole_ids_in_a_narrow_terminal_and_why_they_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = "18ec10904828138196df137e2235de84"
    job: dict[str, object] = {"id": job_id, "kind": "documents", "collection": "news", "state": "failed"}
    job |= {"total": 1, "done": 0, "failed": 1, "created_at": "2026-11-27T22:05:11.123456Z"}
    job["errors"] = [{"id": None, "reason": "the file is [damaged]"}]
    monkeypatch.setattr(Client, "jobs", lambda self, limit=100, state=None: [job])
    monkeypatch.setattr(cli, "console", Terminal(width=80))
    monkeypatch.setattr(sys, "argv", ["cognate", "jobs"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    told = capsys.readouterr().out.splitlines()
    assert any({job_id, "failed", "documents", "news"} <= set(line.split()) for line in told)
    assert told[-1] == f"{job_id}: the file is [damaged]"


@pytest.mark.parametrize("option", ["--cancel", "--follow"])
def test_what_is_done_with_one_job_takes_its_id(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "jobs", lambda self, limit=100, state=None: [])
    refused = CliRunner().invoke(cli.app, ["jobs", option])
    assert refused.exit_code == 2
    assert f"{option} takes the id of a job" in refused.output
