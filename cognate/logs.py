"""Structured logs: standard-library records, rendered by structlog for people or machines."""

from __future__ import annotations

import logging
import sys

import structlog

from cognate.settings import LogFormat, LogLevel


def _drop_color_message(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """uvicorn brings each of its messages twice, once for terminals."""
    event.pop("color_message", None)
    return event


def configure(level: LogLevel, log_format: LogFormat) -> None:
    """Sets up the root logger; fields of `extra` and the bound request id are part of each line."""
    renderer: structlog.typing.Processor
    if log_format is LogFormat.JSON:
        renderer = structlog.processors.JSONRenderer()
    else:
        # Plain tracebacks: those with local variables would write keys and documents into the log.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    exceptions: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info] if log_format is LogFormat.JSON else []
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
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
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
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
