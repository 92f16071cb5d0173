"""Engine and transactions: readers see a snapshot and never wait; SQLite's writers take turns."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import Overloaded, StartRefused, Unavailable

log = logging.getLogger(__name__)

MAX_PARAMETERS = 500  # of one statement's IN list; databases cap it

_BEGIN = "cognate_begin"
_MMAP_BYTES = 256 * 2**20
_CACHE_KIB = 2 * 1024  # for each connection; what is read goes through the memory map
_POOL = {"pool_size": 10, "max_overflow": 50, "pool_timeout": 30.0}

T = TypeVar("T")


def chunked(items: Sequence[T], size: int = MAX_PARAMETERS) -> Iterator[Sequence[T]]:
    """Slices of at most `size` items."""
    return (items[i : i + size] for i in range(0, len(items), size))


class Database:
    """Transactions on one database; safe to share between threads.

    Args:
        url: an SQLAlchemy URL, `sqlite:///file` or Postgres. The schema must exist.
        busy_timeout_s: how long a writer waits for its turn before it gives up with Overloaded.

    Raises StartRefused when the database cannot be opened.
    """

    def __init__(self, url: str, busy_timeout_s: float = 30.0) -> None:
        self._busy_timeout_s = busy_timeout_s
        self._engine = _open(url, busy_timeout_s)
        self._writer_turn = threading.Lock()
        self._reader: Engine = self._engine
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        if self._is_sqlite:
            self._writer: Engine = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        else:
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
            self._writer = self._engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot for all statements inside; it never waits for a writer.

        Raises Unavailable when the database does not answer.
        """
        with _telling_outages(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or leaves no trace when an exception passes through.

        Raises Overloaded when no turn came within the busy timeout, Unavailable when the database does not
        answer or cannot write.
        """
        with _telling_outages(), ExitStack() as stack:
            stack.enter_context(self._turn())
            try:
                connection = stack.enter_context(self._writer.begin())
            except OperationalError as error:
                if "locked" in str(error.orig):
                    raise self._overloaded() from error
                raise
            yield connection

    def close(self) -> None:
        """Closes the pooled connections."""
        self._engine.dispose()

    def _turn(self) -> AbstractContextManager[None]:
        return self._sqlite_turn() if self._is_sqlite else nullcontext()

    @contextmanager
    def _sqlite_turn(self) -> Iterator[None]:
        # SQLite itself only polls for its write lock; a lock of our own wakes the next writer at once.
        if not self._writer_turn.acquire(timeout=self._busy_timeout_s):
            raise self._overloaded()
        try:
            yield
        finally:
            self._writer_turn.release()

    def _overloaded(self) -> Overloaded:
        return Overloaded(f"the database was busy with other writes for {self._busy_timeout_s:g} s; retry")


@contextmanager
def _telling_outages() -> Iterator[None]:
    """Turns what is wrong with the database, rather than with a statement's data, into Unavailable."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        found = type(getattr(error, "orig", None) or error).__name__  # no more: callers are shown this
        log.warning("the database failed", exc_info=error)
        raise Unavailable(f"The database does not answer, or cannot write ({found}); retry later.") from error


def _open(url: str, busy_timeout_s: float) -> Engine:
    """An engine whose database answers; a file that is not there is not made."""
    try:
        engine = _engine(url, busy_timeout_s)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except (ArgumentError, ValueError, ImportError, DBAPIError) as error:
        found = error.orig if isinstance(error, DBAPIError) else error
        place = re.sub(r"://.*@", "://***@", url)  # without a password
        raise StartRefused(
            f"{place!r} cannot be opened as a database: {str(found).strip()}; use sqlite:////folder/file.db "
            "of an SQLite file that this user may write, or a URL whose database runs and whose driver is "
            "installed"
        ) from error
    return engine


def _engine(url: str, busy_timeout_s: float) -> Engine:
    parsed = make_url(url)
    options: dict[str, Any] = {"json_serializer": _dump, "json_deserializer": json.loads, **_POOL}
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, **options)
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise StartRefused(
            f"{url!r} names no file; use sqlite:///path/to/file (memory is not shared or kept)"
        )
    if not Path(str(parsed.database)).exists():
        raise StartRefused(f"there is no file {parsed.database}; run `cognate db upgrade`, or check the path")
    # isolation_level None keeps the driver from beginning transactions; `_begin` does it.
    connect = {"isolation_level": None, "timeout": busy_timeout_s}
    engine = create_engine(parsed, connect_args=connect, **options)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    cursor.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
