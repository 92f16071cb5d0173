"""What the database does to a transaction, as errors that say whether and when to try again.

Every statement of every store passes through `translated`; every transaction that writes through `repeated`.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from core.errors import CognateError, Overloaded, Unavailable

log = logging.getLogger(__name__)

MAX_RUNS = 6  # of a transaction that the database keeps ending in favour of others
FIRST_PAUSE_S = 0.01

_ENDED_FOR_ANOTHER = {"40001", "40P01"}  # serialization failure, deadlock
_LOCK_NOT_AVAILABLE = "55P03"
_CANCELLED = "57014"  # by a limit on statements, or by an operator
_READ_ONLY = "25006"  # a standby, for example while another server takes over
_FULL = "53100"
# Connection errors, resources used up, stopped by an operator, idle for too long inside a transaction.
_AWAY = ("08", "53", "57", "25P03")
# Disks that cannot be read or written, files missing, protected or damaged: no statement is to blame.
_AT_FAULT = ("58", "XX001", "XX002")
_SQLITE_AT_FAULT = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
)

P = ParamSpec("P")
T = TypeVar("T")


class LostRace(Overloaded):
    """The database ended a transaction in favour of another; it left no trace and may run again."""


@contextmanager
def translated(busy_timeout_s: float) -> Iterator[None]:
    """Raises Unavailable when the database is away, Overloaded when it is busy, LostRace after a deadlock.

    Errors that are about the statement itself pass through.
    """
    try:
        yield
    except NoConnection as error:
        raise Overloaded("all connections to the database are in use; retry") from error
    except DBAPIError as error:
        told = _tell(error, busy_timeout_s)
        if told is None:
            raise
        raise told from error


def busy_with_writes(timeout_s: float) -> Overloaded:
    """The error for a writer whose turn did not come in time."""
    return Overloaded(f"the database was busy with other writes for {timeout_s:g} s; retry")


def repeated(method: Callable[P, T]) -> Callable[P, T]:
    """Runs a method that is one transaction again while it loses races, at most MAX_RUNS times in all.

    Nothing else is run again here: after a lost connection nobody knows whether the commit arrived, so the
    caller decides, and sending the same again is harmless.
    """

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for runs in range(1, MAX_RUNS):
            try:
                return method(*args, **kwargs)
            except LostRace:
                pause_s = random.uniform(0.5, 1.0) * FIRST_PAUSE_S * 2**runs
                log.warning("transaction runs again", extra={"method": method.__name__, "runs": runs})
                time.sleep(pause_s)  # both sides of a deadlock must not meet again at once
        return method(*args, **kwargs)

    return run


def _tell(error: DBAPIError, busy_timeout_s: float) -> CognateError | None:
    if isinstance(error.orig, sqlite3.Error):
        return _tell_sqlite(error.orig, busy_timeout_s)
    state = getattr(error.orig, "sqlstate", None)
    if state in _ENDED_FOR_ANOTHER:
        return LostRace("the database ended this request in favour of others several times; retry")
    if state == _LOCK_NOT_AVAILABLE:
        return busy_with_writes(busy_timeout_s)
    if state == _CANCELLED:
        return Overloaded("the database stopped a statement that took too long; retry")
    if state == _FULL:
        return _disk_full()
    if str(state).startswith(_AT_FAULT):
        return _at_fault(error.orig)
    if state == _READ_ONLY:
        return Unavailable("the database takes no writes at the moment; retry")
    # Without a state the driver itself found the connection broken, or could not make one.
    is_broken = state is None and isinstance(error, OperationalError | InterfaceError)
    if error.connection_invalidated or is_broken or str(state).startswith(_AWAY):
        return Unavailable("the database is away or restarting; retry")
    return None


def _tell_sqlite(error: sqlite3.Error, busy_timeout_s: float) -> CognateError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; higher bits say where
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return busy_with_writes(busy_timeout_s)
    if code == sqlite3.SQLITE_FULL:
        return _disk_full()
    return _at_fault(error) if code in _SQLITE_AT_FAULT else None


def _disk_full() -> Unavailable:
    return Unavailable("the disk of the database is full; free some space, then retry")


def _at_fault(error: BaseException | None) -> Unavailable:
    told = str(error).partition("\n")[0]
    return Unavailable(
        f"the database cannot read or write its files: {told}; see its disk, quota and permissions (a damaged"
        " one is restored from a backup), then retry"
    )
