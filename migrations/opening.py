"""Opens a database for the first time in a process, or says why that cannot work and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from core.errors import StartRefused
from storage.urls import without_secrets

_BUSY_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 10
_EXPECTED = "use sqlite:////folder/file.db or postgresql+psycopg://user:password@host/database"


def open_engine(url: str, sqlite_begin: str) -> Engine:
    """An engine without a pool whose database answers; a missing SQLite file is made, for its owner alone.

    `sqlite_begin` is the statement that begins transactions there. Raises StartRefused.
    """
    parsed = _parse(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite:
        _make_file(parsed)
    # isolation_level None: the driver must not begin by itself, or tables would be made outside of it.
    connect = (
        {"isolation_level": None, "timeout": _BUSY_TIMEOUT_S}
        if is_sqlite
        else {"connect_timeout": _CONNECT_TIMEOUT_S, "client_encoding": "utf8"}
    )
    engine = _create(parsed, lambda: create_engine(parsed, poolclass=NullPool, connect_args=connect))
    if is_sqlite:
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(sqlite_begin))
    found = _answer(engine, "PRAGMA schema_version" if is_sqlite else "SHOW server_encoding")
    if not is_sqlite and found != "UTF8":
        raise StartRefused(
            f"{without_secrets(url)!r} is a database of encoding {found}, which cannot hold every text, or"
            " counts its bytes as characters; make one with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE"
            " template0"
        )
    return engine


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StartRefused(f"{without_secrets(url)!r} is no database URL; {_EXPECTED}") from error


def _make_file(url: URL) -> None:
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise StartRefused(f"{str(url)!r} names no file; {_EXPECTED} (memory is not shared or kept)")
    path = Path(str(url.database)).absolute()
    try:
        # Made once, never opened again by hand: closing such a file drops SQLite's locks on it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
            raise StartRefused(
                f"{path} is not a file that this user may read and write; choose another file, or give it "
                "to the user that runs Cognate"
            ) from None
    except OSError as error:
        raise StartRefused(
            f"{path} cannot be made: {error.strerror}; create the folder {path.parent}, make it writable for "
            "the user that runs Cognate, or choose another"
        ) from error


def _create(url: URL, create: Callable[[], Engine]) -> Engine:
    name = url.drivername
    try:
        return create()
    except NoSuchModuleError as error:
        raise StartRefused(f"{name!r} is no kind of database that is supported; {_EXPECTED}") from error
    except ImportError as error:
        raise StartRefused(
            f"the driver of {name!r} is not installed ({error}); install it (for Postgres: pip install "
            f"'cognate[postgres]'), or {_EXPECTED}"
        ) from error


def _answer(engine: Engine, statement: str) -> object:
    url = without_secrets(engine.url.render_as_string(hide_password=False))
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql(statement).scalar()
    except DBAPIError as error:
        if "not a database" in str(error.orig):
            raise StartRefused(
                f"{engine.url.database} is not an SQLite database; choose another file, or move this one "
                "away and restore a backup in its place"
            ) from error
        raise StartRefused(
            f"{url} cannot be opened: {str(error.orig).strip()}; check that the database runs, that this URL "
            "is right, and that this user may use it"
        ) from error
