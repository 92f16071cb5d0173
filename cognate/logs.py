"""Structured logs: standard-library records, rendered by structlog for people or machines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from io import StringIO
from typing import TextIO

import structlog

from cognate.settings import LogFormat, LogLevel

log = logging.getLogger(__name__)


def _drop_color_message(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """uvicorn brings each of its messages twice, once for terminals."""
    event.pop("color_message", None)
    return event


def _printable(text: str) -> str:
    """Characters that a terminal would obey, or not show, as escapes; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text
    )


def _escape_controls(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Callers choose parts of some values, an address for example. JSON escapes by itself."""
    return {name: _printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _write_traceback(file: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Without local variables, which would write keys and documents into the log."""
    text = StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    file.write(_printable(text.getvalue()))


def begin(level: LogLevel, log_format: LogFormat, warnings: Iterable[str]) -> None:
    """Sets up the log of a process that serves or works; `warnings` are its first lines."""
    configure(level, log_format)
    for warning in warnings:
        log.warning(warning)


def configure(level: LogLevel, log_format: LogFormat) -> None:
    """Sets up the root logger; fields of `extra` and the bound request id are part of each line."""
    renderer: structlog.typing.Processor
    if log_format is LogFormat.JSON:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=_write_traceback
        )
    preparing: structlog.typing.Processor = (
        structlog.processors.format_exc_info if log_format is LogFormat.JSON else _escape_controls
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _drop_color_message,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, preparing, renderer],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.value)
    for noisy in (
        "httpx",
        "httpcore",
        "uvicorn.access",
        "alembic",
        "celery.worker.strategy",
        "celery.app.trace",
        "faiss.loader",  # tells which of its builds it could not load before the one that it takes
    ):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
