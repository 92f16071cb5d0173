"""What one process alone may use at a time: a data folder, an SQLite file."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.errors import StartRefused
from storage.urls import sqlite_file


@contextmanager
def exclusive_folder(root: Path, lock: Path) -> Iterator[None]:
    """Holds the data folder by its file `lock`: two servers on one would both own its snapshots and uploads.

    Raises StartRefused.
    """
    with lock.open("w") as file:
        _hold(
            file,
            f"Another Cognate process uses the data folder {root}; stop it, or name another folder with"
            " --data-dir or COGNATE_DATA_DIR.",
        )
        yield


@contextmanager
def exclusive_database(url: str) -> Iterator[None]:
    """Holds the file of an SQLite database, which has no locks for tasks that take long, as Postgres has.

    Does nothing for other databases, and for a file that could not be there. Raises StartRefused.
    """
    path = sqlite_file(url)
    if path is None or not path.parent.is_dir():
        yield
        return
    with path.with_name(f"{path.name}.lock").open("w") as file:
        _hold(
            file,
            f"Another Cognate process uses the database {path}; stop it, or use Postgres, which several"
            " processes may share.",
        )
        yield


def _hold(file: IO[str], refusal: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StartRefused(refusal) from None
