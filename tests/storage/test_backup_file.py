"""A backup whose bytes are not those that were written is refused, whatever byte it is."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core.backup_types import Move
from core.errors import Conflict
from core.job_types import JobKind
from storage.backup_file import (
    FORMAT,
    MANIFEST,
    VERSION,
    VERSION_WITH_CLASSIFIERS,
    Archive,
    ArchiveWriter,
    Damaged,
)
from storage.backups import SqlBackups
from storage.long_jobs import SqlLongJobs
from storage.uploads import BACKUPS, local_uploads
from tests.storage.world import World, new

MEMBER = "collections/0001/documents.jsonl"


class Sink(io.BytesIO):
    def write(self, block: Any) -> int:
        return super().write(block)


def archive(**changes: Any) -> bytes:
    """A small archive of one file; `changes` are made to its manifest."""
    sink = Sink()
    writer = ArchiveWriter(sink)  # type: ignore[arg-type]  # that it tells how much it wrote does no harm
    with writer.member(MEMBER) as member:
        for number in range(100):
            member.add(b'{"id": %d}\n' % number)
    manifest = {"format": FORMAT, "version": VERSION, "file": member.description(MEMBER), **changes}
    writer.finish(manifest)
    return sink.getvalue()


def read(data: bytes) -> list[bytes]:
    opened = Archive(io.BytesIO(data))
    opened.check_seal(lambda: None)
    return list(opened.lines(opened.manifest["file"]))


def test_what_was_written_is_read_back() -> None:
    assert read(archive()) == [b'{"id": %d}\n' % number for number in range(100)]


def test_a_plain_zip_tool_reads_it_too() -> None:
    with zipfile.ZipFile(io.BytesIO(archive())) as plain:
        assert plain.namelist() == [MEMBER, MANIFEST]
        assert plain.testzip() is None


def test_any_changed_byte_is_found() -> None:
    whole = archive()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.Random(place).randrange(8)
        with pytest.raises(Damaged):
            read(bytes(damaged))


def test_any_cut_is_found() -> None:
    whole = archive()
    for length in range(len(whole)):
        with pytest.raises(Damaged):
            read(whole[:length])


def test_more_at_the_end_is_found() -> None:
    with pytest.raises(Damaged):
        read(archive() + b"\0")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": VERSION_WITH_CLASSIFIERS + 1}, f"format version {VERSION_WITH_CLASSIFIERS + 1}"),
        ({"version": "1"}, "no backup of Cognate"),
        ({"format": "another"}, "no backup of Cognate"),
    ],
)
def test_other_formats_are_refused_with_what_was_found(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Damaged, match=told):
        Archive(io.BytesIO(archive(**changes)))


@pytest.mark.parametrize("data", [b"", b"PK", b"no archive at all" * 100])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(Damaged, match="no whole backup"):
        Archive(io.BytesIO(data))


@pytest.mark.parametrize("field", ["rows", "bytes", "sha256"])
def test_a_file_that_is_not_what_the_manifest_says_is_refused(field: str) -> None:
    opened = Archive(io.BytesIO(archive()))
    with pytest.raises(Damaged, match="not what its manifest says"):
        list(opened.lines({**opened.manifest["file"], field: 1}))


@pytest.mark.parametrize("kind", ["sqlite"])
def test_nothing_is_restored_from_a_damaged_backup(world: World, tmp_path: Path) -> None:
    store = SqlBackups(world.database, local_uploads(tmp_path / "b", BACKUPS), "test")
    world.add(*(new(f"d{i}", f"text {i}") for i in range(50)))
    store.create("j", "b", None, lambda done: None)
    path = tmp_path / "b" / "b.zip"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    job = SqlLongJobs(world.database).open(JobKind.RESTORE, "", {})
    with pytest.raises(Damaged, match="damaged"):
        list(store.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    with pytest.raises(Damaged):
        store.verify("b", lambda done: None)
    assert [collection.name for collection in world.collections.list()] == ["news"]
    path.write_bytes(data[:-100])
    (listed,) = store.list()
    assert (listed.name, listed.collections) == ("b", ())
    assert "no whole backup" in str(listed.problem)
    with pytest.raises(Conflict):
        store.create("j", "b", None, lambda done: None)
