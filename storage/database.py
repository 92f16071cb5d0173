"""Engine and transactions: readers see a snapshot and never wait; SQLite's writers take turns."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError

from core.errors import StartRefused
from storage.clock import Clock, ServerClock, utc_now
from storage.faults import busy_with_writes, translated
from storage.urls import without_secrets

MAX_PARAMETERS = 500  # of one statement's IN list; databases cap it

_BEGIN = "cognate_begin"
_MMAP_BYTES = 256 * 2**20
_CACHE_KIB = 2 * 1024  # for each connection; what is read goes through the memory map
_POOL = {"pool_size": 10, "max_overflow": 50, "pool_timeout": 30.0}
# A Postgres server takes 100 connections unless told otherwise; three of our processes fit in.
_POSTGRES_POOL = {**_POOL, "max_overflow": 20}
_PING_AFTER_S = (
    1.0  # of rest, for a glance: a connection used a moment ago is as likely alive as one just asked
)
_GLANCING = threading.local()  # `is_on` while this thread takes a connection for a glance
_CONNECT_TIMEOUT_S = 10
LONG_PAUSE_S = 900.0
_DEAD_PEER_S = 30  # after which a connection without any answer counts as lost

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # made once: a call makes one each time

T = TypeVar("T")


def chunked(items: Sequence[T], size: int = MAX_PARAMETERS) -> Iterator[Sequence[T]]:
    """Slices of at most `size` items."""
    return (items[i : i + size] for i in range(0, len(items), size))


def can_be_stored(text: str) -> bool:
    """False for a text that no database takes, with a lone surrogate or NUL: nothing has it as its name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


class Database:
    """Transactions on one database; safe to share between threads.

    Args:
        url: an SQLAlchemy URL, `sqlite:///file` or `postgresql+psycopg://…`. The schema must exist.
        busy_timeout_s: how long a writer waits for its turn before it gives up with Overloaded.

    `now` is the time on which all processes that use the database agree: on Postgres that of its server.

    Raises StartRefused when the database cannot be opened.
    """

    def __init__(self, url: str, busy_timeout_s: float = 30.0) -> None:
        self._busy_timeout_s = busy_timeout_s
        clock = ServerClock()
        self._engine = _open(url, busy_timeout_s, clock)
        self._writer_turn = threading.Lock()
        self._reader: Engine = self._engine
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self.now: Clock = utc_now if self._is_sqlite else clock
        if self._is_sqlite:
            self._writer: Engine = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            self._glance = self._reader
        else:
            self._glance = self._engine.execution_options(isolation_level="AUTOCOMMIT")
            snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            self._reader = self._engine.execution_options(**snapshot)
            # What a writer reads after it locked the collection must be the newest, not a snapshot.
            self._writer = self._engine.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot for all statements inside; it never waits for a writer.

        Raises Unavailable when the database is away, Overloaded when no connection came free.
        """
        with translated(self._busy_timeout_s), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """For one reading statement, which needs no transaction around it: one way to the server, not three.

        Raises as `read` does, and Unavailable too where the connection died since it was used a moment ago.
        """
        with translated(self._busy_timeout_s):
            _GLANCING.is_on = True
            try:
                connection = self._glance.connect()
            finally:
                _GLANCING.is_on = False
            with connection:
                yield connection

    def let_pause(self, connection: Connection) -> None:
        """Lets a long reading transaction pause for longer than others, while what it read is stored."""
        if not self._is_sqlite:
            pause = f"SET LOCAL idle_in_transaction_session_timeout = '{LONG_PAUSE_S:g}s'"
            connection.exec_driver_sql(pause)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or leaves no trace when an exception passes through.

        Raises Overloaded when no turn or lock came within the busy timeout, LostRace when it may run again
        at once, and Unavailable when the database is away; if that happens in the commit itself, only a
        look tells whether it arrived.
        """
        with self._turn(), translated(self._busy_timeout_s), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection outside of any transaction, for what belongs to the session itself.

        Raises as `read` does.
        """
        with translated(self._busy_timeout_s), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Closes the pooled connections."""
        self._engine.dispose()

    def _turn(self) -> AbstractContextManager[None]:
        return self._sqlite_turn() if self._is_sqlite else nullcontext()

    @contextmanager
    def _sqlite_turn(self) -> Iterator[None]:
        # SQLite itself only polls for its write lock; a lock of our own wakes the next writer at once.
        if not self._writer_turn.acquire(timeout=self._busy_timeout_s):
            raise busy_with_writes(self._busy_timeout_s)
        try:
            yield
        finally:
            self._writer_turn.release()


def _open(url: str, busy_timeout_s: float, clock: ServerClock) -> Engine:
    """An engine whose database answers; a file that is not there is not made."""
    try:
        engine = _engine(url, busy_timeout_s, clock)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except (ArgumentError, ValueError, ImportError, DBAPIError) as error:
        found = error.orig if isinstance(error, DBAPIError) else error
        raise StartRefused(
            f"{without_secrets(url)!r} cannot be opened as a database: {str(found).strip()}; use "
            "sqlite:////folder/file.db of an SQLite file that this user may write, or a URL whose database "
            "runs and whose driver is installed"
        ) from error
    return engine


def _engine(url: str, busy_timeout_s: float, clock: ServerClock) -> Engine:
    parsed = make_url(url)
    options: dict[str, Any] = {"json_serializer": _JSON.encode, "json_deserializer": json.loads}
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(
            parsed, connect_args=_postgres_connection(parsed, busy_timeout_s), **_POSTGRES_POOL, **options
        )
        _ping_rested_connections(engine, clock)
        return engine
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise StartRefused(
            f"{url!r} names no file; use sqlite:///path/to/file (memory is not shared or kept)"
        )
    if not Path(str(parsed.database)).exists():
        raise StartRefused(f"there is no file {parsed.database}; run `cognate db upgrade`, or check the path")
    # isolation_level None keeps the driver from beginning transactions; `_begin` does it.
    connect = {"isolation_level": None, "timeout": busy_timeout_s}
    engine = create_engine(parsed, connect_args=connect, **_POOL, **options)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _postgres_connection(url: URL, busy_timeout_s: float) -> dict[str, Any]:
    """Limits on every wait: for a connection, a lock, a peer that died; what the URL says wins."""
    alive = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 4}
    session = {
        "lock_timeout": round(busy_timeout_s * 1000),
        # A process that stopped halfway must not keep its locks; no transaction of ours pauses for long.
        "idle_in_transaction_session_timeout": 2 * _DEAD_PEER_S * 1000,
        **alive,
    }
    given = str(url.query.get("options", ""))
    arguments = {
        "options": " ".join([*(f"-c {name}={value}" for name, value in session.items()), given]).strip(),
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "client_encoding": "utf8",  # whatever the environment or the server says
        "keepalives_idle": alive["tcp_keepalives_idle"],
        "keepalives_interval": alive["tcp_keepalives_interval"],
        "keepalives_count": alive["tcp_keepalives_count"],
        "tcp_user_timeout": _DEAD_PEER_S * 1000,
    }
    return {name: value for name, value in arguments.items() if name == "options" or name not in url.query}


def _ping_rested_connections(engine: Engine, clock: ServerClock) -> None:
    """A connection is asked for the time before it is handed out; for a glance only if it has rested.

    What matters is that it answers; that the clock is told of it costs nothing.
    """

    def note_use(_connection: Any, record: Any) -> None:
        record.info["used_s"] = time.monotonic()

    def check(connection: Any, record: Any, _proxy: Any) -> None:
        rested_s = time.monotonic() - record.info.get("used_s", -math.inf)
        if getattr(_GLANCING, "is_on", False) and rested_s < _PING_AFTER_S:
            return
        try:
            _tell_time(connection, clock)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # all connections of before are made anew

    event.listen(engine, "connect", note_use)
    event.listen(engine, "checkin", note_use)
    event.listen(engine, "checkout", check)


def _tell_time(connection: Any, clock: ServerClock) -> None:
    before = connection.autocommit
    connection.autocommit = True  # no transaction is begun
    try:
        asked_s = time.monotonic()
        (epoch_s,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        clock.note(datetime.fromtimestamp(epoch_s, UTC), asked_s, time.monotonic())
    finally:
        if not connection.closed:
            connection.autocommit = before


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
