"""Databases that cannot be opened are refused with what was found and what to do."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.errors import StartRefused
from migrations.upgrade import check, upgrade
from storage.database import Database
from storage.urls import without_secrets
from tests.storage.world import World, new

OPENERS = pytest.mark.parametrize("opener", [upgrade, check, Database])


@OPENERS
def test_a_file_that_is_not_sqlite_is_refused_and_left_alone(opener: object, tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    content = "not what you think " * 100
    path.write_text(content)
    with pytest.raises(StartRefused, match=r"notes\.db.* not a(n SQLite)? database; "):
        opener(f"sqlite:///{path}")  # type: ignore[operator]
    assert path.read_text() == content


@OPENERS
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("cognate.db", "'cognate.db'"),
        ("postgresql://me:secret@host:port/x", r"'postgresql://\*\*\*@host:port/x'"),
        ("nosuch://me:secret@host/x", "nosuch"),
        ("postgresql+pg8000://me:secret@host/x", "pg8000"),
        ("sqlite:///file:x?mode=memory&uri=true", "names no file"),
        ("sqlite://", "names no file"),
    ],
)
def test_urls_that_name_no_usable_database_are_refused(opener: object, url: str, told: str) -> None:
    with pytest.raises(StartRefused, match=told) as refused:
        opener(url)  # type: ignore[operator]
    assert "sqlite:///" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:se@cret/?@host/x?a=b", "postgresql://***@host/x?a=b"),
        ("postgresql://host/x?user=me&password=se@cret&a=b", "postgresql://host/x?user=me&password=***&a=b"),
        ("postgresql://host/x?SSLPASSWORD=secret", "postgresql://host/x?SSLPASSWORD=***"),
        ("sqlite:////folder/file.db", "sqlite:////folder/file.db"),
    ],
)
def test_urls_in_messages_tell_no_password(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("missing/cognate.db", r"missing/cognate\.db cannot be made.*create the folder .*/missing"),
        ("file/cognate.db", r"file/cognate\.db cannot be made.*or choose another"),
        ("folder", r"folder is not a file that this user may read and write"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path, place: str, told: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StartRefused, match=told):
        upgrade(f"sqlite:///{tmp_path / place}")
    with pytest.raises(StartRefused):
        Database(f"sqlite:///{tmp_path / place}")


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:  # the tests may run as a user who may do everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("migrations.opening.os.open", refuse)
    with pytest.raises(StartRefused, match=r"cannot be made: Permission denied.*make it writable"):
        upgrade(f"sqlite:///{tmp_path / 'cognate.db'}")


def test_a_database_that_was_never_made_is_not_made_by_opening_it(tmp_path: Path) -> None:
    path = tmp_path / "cognate.db"
    with pytest.raises(StartRefused, match=r"there is no file .*cognate\.db; run `cognate db upgrade`"):
        Database(f"sqlite:///{path}")
    assert not path.exists()


def test_the_files_of_a_new_database_are_its_owners_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'cognate.db'}"
    upgrade(url)
    database = Database(url)
    World(database).add(new("a"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    database.close()
    assert modes == {"cognate.db": 0o600, "cognate.db-wal": 0o600, "cognate.db-shm": 0o600}
