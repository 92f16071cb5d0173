"""What all production processes agree on about Redis, and the scheduler, which needs no more."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from cognate.metrics import ScheduleMetrics, new_registry, served_metrics
from cognate.settings import Settings
from core.errors import StartRefused

try:
    from workers.celery_app import BrokerSettings, make_app
    from workers.celery_scheduler import run_scheduler
except ImportError as error:
    raise StartRefused(
        f"Production needs {error.name}, which is not installed; run pip install 'cognate[production]',"
        " or leave COGNATE_REDIS_URL out."
    ) from None


def broker_settings(settings: Settings) -> BrokerSettings:
    """What Celery needs to know. Raises StartRefused unless Redis and a shared database are configured."""
    if wrong := _wrong_in_url(settings.redis_url):
        raise StartRefused(f"COGNATE_REDIS_URL {wrong}; give it as redis://:password@host:6379/0.")
    if not settings.database_url or settings.database_url.startswith("sqlite"):
        found = "an SQLite file" if settings.database_url else "not set"
        raise StartRefused(
            f"COGNATE_REDIS_URL is set, but COGNATE_DATABASE_URL is {found}. API and workers are processes"
            " that share one database: give a URL like postgresql+psycopg://user:password@host/database, or"
            " leave COGNATE_REDIS_URL out to run everything in one process."
        )
    return BrokerSettings(
        settings.redis_url, max(settings.batch_limit_s, settings.lease_s), settings.sweep_every_s
    )


def _wrong_in_url(url: str) -> str | None:
    """What keeps it from naming a Redis; without the URL, which holds a password."""
    if not url.startswith(("redis://", "rediss://")):
        return "does not begin with redis:// or rediss://" if url else "is not set"
    try:
        parts = urlsplit(url)
        is_readable = parts.port != 0 and not parts.fragment
    except ValueError:
        is_readable = False
    if not is_readable:
        return "has no host and port that can be read (of a password, / ? # are %2F %3F %23)"
    if not re.fullmatch("/?[0-9]*", parts.path):
        return "has a database that is no number"
    return None


def schedule_forever(settings: Settings) -> None:
    """Sends periodic tasks until SIGTERM. Raises StartRefused."""
    app, registry = make_app(broker_settings(settings)), new_registry()
    with served_metrics(settings, registry):
        run_scheduler(app, settings.alive_file, ScheduleMetrics(registry).sent)
