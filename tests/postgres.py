"""A real Postgres 16 from the wheel `pgserver`, for tests: started without root, gone at the end."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from migrations.upgrade import upgrade

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for a runtime folder at import and finds another one itself
    import pgserver

STOP_TIMEOUT_S = 60.0
# The tests crash this server, never its machine: what the disk has not yet got is in the system's cache.
FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


class PostgresServer:
    """One server, and databases on it. As root it runs as a user of its own, which `pgserver` makes."""

    def __init__(self, folder: Path) -> None:
        self._server = pgserver.get_server(folder, cleanup_mode=None)
        self._folder = folder
        self._numbers = count()
        with self._admin() as connection:
            for name, value in FAST.items():
                connection.execute(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), value))
        self.stop()  # some settings are read at start alone
        self.start()
        self._template = self.create_database()
        upgrade(self.url(self._template))

    def url(self, database: str) -> str:
        """As SQLAlchemy wants it."""
        return str(self._server.get_uri(database)).replace("postgresql://", "postgresql+psycopg://", 1)

    def create_database(self) -> str:
        """The name of a new database without tables."""
        return self._create(SQL("CREATE DATABASE {}"))

    def create_migrated_database(self) -> str:
        """The name of a new, empty database with the newest schema."""
        return self._create(SQL("CREATE DATABASE {} TEMPLATE {}"), Identifier(self._template))

    def drop_database(self, name: str) -> None:
        """Removes it, also from under connections that were left open."""
        with self._admin() as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def stop(self, mode: str = "fast") -> None:
        """Ends all connections and the server; `immediate` is a crash, from which it recovers at start."""
        pgserver.pg_ctl(
            ["-w", "-m", mode, "stop"],
            pgdata=self._folder,
            user=self._server.system_user,
            timeout=STOP_TIMEOUT_S,
        )

    def start(self) -> None:
        """Starts it again, with the databases it had; back when it takes connections."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Ends the server at once; nothing of it is kept."""
        self.stop("immediate")

    def _create(self, statement: SQL, *more: Identifier) -> str:
        name = f"test_{next(self._numbers)}"
        with self._admin() as connection:
            connection.execute(statement.format(Identifier(name), *more))
        return name

    @contextmanager
    def _admin(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            yield connection


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server in a folder of its own; its name is short, because a socket lies in it."""
    folder = Path(tempfile.mkdtemp(prefix="cognate-pg-"))
    try:
        server = PostgresServer(folder)
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
