"""Brings a database to the schema of this code, or says why it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from core.errors import SchemaMismatch, StartRefused
from migrations.opening import open_engine
from storage.urls import without_secrets

_TURN = 0x636F676E61746500  # of the processes that upgrade one Postgres database: "cognate" in ASCII


def upgrade(url: str) -> None:
    """Creates or upgrades the schema in one transaction; does nothing when it is up to date.

    Several processes may call it at once: they wait for each other. A missing SQLite file is made. Raises
    SchemaMismatch when the database was made by a newer version, StartRefused when it cannot be opened.
    """
    with _transaction(url, "BEGIN IMMEDIATE") as connection:
        if connection.dialect.name == "postgresql":  # SQLite's writers take turns by themselves
            connection.execute(select(func.pg_advisory_xact_lock(_TURN)))
        config = alembic_config(connection)
        script = ScriptDirectory.from_config(config)
        found = _revision(connection)
        if found is not None:
            _refuse_unknown(script, found)
        if found != script.get_current_head():
            command.upgrade(config, "head")


def check(url: str) -> None:
    """Raises SchemaMismatch unless the database has exactly the schema of this code.

    Raises StartRefused when it cannot be opened.
    """
    with _transaction(url, "BEGIN") as connection:
        script = ScriptDirectory.from_config(alembic_config(connection))
        found = _revision(connection)
    expected = script.get_current_head()
    if found == expected:
        return
    if found is None:
        raise SchemaMismatch(
            f"the database has no tables of Cognate yet; this version needs revision {expected!r}. "
            "Run `cognate db upgrade`"
        )
    _refuse_unknown(script, found)
    raise SchemaMismatch(
        f"the database is at revision {found!r}, but this version needs {expected!r}. "
        "Run `cognate db upgrade`"
    )


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for commands on this connection; no file is read."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_unknown(script: ScriptDirectory, found: str) -> None:
    known = [revision.revision for revision in script.walk_revisions()]
    if found not in known:
        raise SchemaMismatch(
            f"the database is at revision {found!r}, which this version does not know (it knows "
            f"{', '.join(reversed(known))}): a newer Cognate made it. Run that version or a later one, or "
            "restore a backup from before its upgrade"
        )


@contextmanager
def _transaction(url: str, sqlite_begin: str) -> Iterator[Connection]:
    try:
        with open_engine(url, sqlite_begin).begin() as connection:
            yield connection
    except DBAPIError as error:
        told = str(error.orig).partition("\n")[0]
        raise StartRefused(
            f"the tables in {without_secrets(url)!r} cannot be read or brought up to date: {told}; let this"
            " user own the tables and make new ones (Postgres: GRANT ALL ON SCHEMA public TO user), see that"
            " the disk has room, then try again"
        ) from error
