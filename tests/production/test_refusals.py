"""A production process that is configured by halves refuses to start, and says what is missing."""

from __future__ import annotations

import pytest

from cognate.broker import broker_settings
from cognate.settings import Settings
from core.errors import StartRefused

POSTGRES, REDIS = "postgresql+psycopg://u:p@host/db", "redis://:p@host:6379/0"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(database_url=POSTGRES), "COGNATE_REDIS_URL is not set"),
        (Settings(database_url=POSTGRES, redis_url="amqp://host"), "does not begin with redis://"),
        (Settings(redis_url=REDIS), "COGNATE_DATABASE_URL is not set"),
        (Settings(redis_url=REDIS, database_url="sqlite:////tmp/c.db"), "is an SQLite file"),
    ],
)
def test_redis_and_a_shared_database_go_together(settings: Settings, message: str) -> None:
    with pytest.raises(StartRefused, match=message):
        broker_settings(settings)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:secret@host:port/0", "host and port"),
        ("redis://:secret@host:99999/0", "host and port"),
        ("redis://:secret#1@host:6379/0", "host and port"),
        ("redis://:secret/1@host:6379/0", "host and port"),
        ("redis://:secret@host:6379/tasks", "a database that is no number"),
    ],
)
def test_an_address_of_redis_that_cannot_be_read_is_told_without_its_password(url: str, message: str) -> None:
    with pytest.raises(StartRefused, match=message) as refused:
        broker_settings(Settings(database_url=POSTGRES, redis_url=url))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["redis://", "redis://host", "redis://:a@b@host:6379/", "rediss://u:p%23@[::1]:1/15?ssl_cert_reqs=none"],
)
def test_an_address_of_redis_may_leave_parts_out(url: str) -> None:
    assert broker_settings(Settings(database_url=POSTGRES, redis_url=url)).url == url


def test_redis_may_hand_a_task_out_again_only_after_its_lease_and_limit() -> None:
    settings = Settings(database_url=POSTGRES, redis_url=REDIS, lease_s=5000, batch_limit_s=10)
    assert broker_settings(settings).limit_s == 5000
