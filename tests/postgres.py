"""A real Postgres 16 from the wheel `pgserver`, for tests: started without root, gone at the end."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.sql import SQL, Identifier

from migrations.upgrade import upgrade

START_TIMEOUT_S = STOP_TIMEOUT_S = 60.0
# The tests crash this server, never its machine: what is not on disk yet is still in the system's cache.
FAST = {"fsync": "off", "full_page_writes": "off"}

T = TypeVar("T")


def patiently(start: Callable[[], T]) -> T:
    """`pgserver` gives a start ten seconds, and asserts a file that it may find half written."""
    ends = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return start()
        except (subprocess.TimeoutExpired, AssertionError):
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


class PostgresServer:
    """One server, and databases on it. As root it runs as a user of its own, which `pgserver` makes."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for a runtime folder and finds another one itself
            from pgserver import _commands, postgres_server  # there is no such wheel for every Python

        self._pg_ctl = _commands.create_command_function("pg_ctl")
        self._server = patiently(lambda: postgres_server.get_server(folder, cleanup_mode=None))
        self._folder = folder
        self._numbers = count()
        try:
            self.start()
            self._prepare()
        except BaseException:  # also Ctrl-C: nobody else would end it
            self.close()
            raise

    def _prepare(self) -> None:
        with self._admin() as connection:
            for name, value in FAST.items():
                connection.execute(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), value))
            connection.execute("SELECT pg_reload_conf()")
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
        self._pg_ctl(
            ["-w", "-m", mode, "stop"],
            pgdata=self._folder,
            user=self._server.system_user,
            timeout=STOP_TIMEOUT_S,
        )

    def start(self) -> None:
        """Starts it again, with the databases it had; back when it takes connections."""
        patiently(self._server.ensure_postgres_running)

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
