"""Log lines for people and for machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from cognate import logs
from cognate.settings import LogFormat, LogLevel

HOSTILE = "/v1/documents/\x1b[31mred\x07\x9b\u202e\r\nadmin logged in"


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def written(log_format: LogFormat, capfd: pytest.CaptureFixture[str]) -> str:
    logs.configure(LogLevel.INFO, log_format)
    log = logging.getLogger("for.the.test")
    log.info("request", extra={"path": HOSTILE, "short": "\x1b[2J", "listed": ["\x1b[2J"]})
    log.info("said \x1b[31m")
    try:
        raise ValueError("about \x1b[31m")
    except ValueError:
        log.exception("failed")
    return capfd.readouterr().err


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_no_character_that_a_terminal_obeys_reaches_the_log(
    log_format: LogFormat, capfd: pytest.CaptureFixture[str]
) -> None:
    log = written(log_format, capfd)
    assert all(one.isprintable() or one == "\n" for one in log)
    assert not any(line.startswith("admin") for line in log.splitlines())
    assert log.count("x1b[" if log_format is LogFormat.CONSOLE else "u001b[") >= 5


def test_tracebacks_stay_on_lines_of_their_own(capfd: pytest.CaptureFixture[str]) -> None:
    lines = written(LogFormat.CONSOLE, capfd).splitlines()
    assert lines[-1] == r"ValueError: about \x1b[31m"
    assert lines[-4] == "Traceback (most recent call last):"


def test_json_lines_give_back_what_was_logged(capfd: pytest.CaptureFixture[str]) -> None:
    first, *_ = map(json.loads, written(LogFormat.JSON, capfd).splitlines())
    assert first["path"] == HOSTILE


@pytest.mark.parametrize(("level", "told"), [(LogLevel.INFO, ["could not bind"]), (LogLevel.ERROR, [])])
def test_of_libraries_that_say_much_warnings_alone_are_told_and_not_below_the_level(
    level: LogLevel, told: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level, LogFormat.JSON)
    library = logging.getLogger("faiss.loader")
    library.info("Could not load library with AVX512 support")
    library.warning("could not bind")
    assert [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()] == told
