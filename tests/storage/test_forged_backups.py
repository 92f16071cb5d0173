"""A backup that was changed and sealed anew is refused with what was found, and nothing of it is restored."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.backup_types import Move
from core.errors import InvalidInput
from core.job_types import JobKind
from storage.backup_file import Archive, ArchiveWriter
from storage.backups import SqlBackups
from storage.uploads import BACKUPS, local_uploads
from tests.storage import classified
from tests.storage.world import World, new

Json = dict[str, Any]
Forge = Callable[[Json, dict[str, list[Any]]], object]  # changes manifest, or rows by table


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def store(world: World, tmp_path: Path) -> SqlBackups:
    world.add(*(new(f"d{i}", f"text {i}") for i in range(3)))
    classified.end(world, classified.put(world, given=classified.examples(a="good", b="bad"))[1])
    classified.train(world)
    store = SqlBackups(world.database, local_uploads(tmp_path / "b", BACKUPS), "test", world.clock)
    store.create("j", "b", None, lambda done: None)
    return store


def forge(path: Path, change: Forge) -> None:
    """Changes what the file holds; digests and seal are right again."""
    archive = Archive(io.BytesIO(path.read_bytes()))
    manifest = archive.manifest
    saved = manifest["collections"] + manifest["classifiers"]
    described = {name: table for one in saved for name, table in one["tables"].items()}
    rows = {name: [json.loads(line) for line in archive.lines(table)] for name, table in described.items()}
    files = {name: str(table["file"]) for name, table in described.items()}
    change(manifest, rows)
    sink = io.BytesIO()
    writer = ArchiveWriter(sink)  # type: ignore[arg-type]  # that it tells how much it wrote does no harm
    for name, file in files.items():
        with writer.member(file) as member:
            for row in rows[name]:
                member.add(json.dumps(row).encode() + b"\n")
        if isinstance(described[name], dict):
            described[name].update(member.description(file))
    writer.finish(manifest)
    path.write_bytes(sink.getvalue())


def restore_all(world: World, store: SqlBackups) -> None:
    backup = store.get("b")
    store.verify("b", lambda done: None)
    job = world.long_jobs.open(JobKind.RESTORE, "", {})
    store.restore_classifiers(job.id, "b", [one.name for one in backup.classifiers], True, lambda done: None)
    move = Move("news", "again", False)
    list(store.restore(job.id, "b", [move], lambda done: None))


def set_row(table: str, column: str, value: Any) -> Forge:
    return lambda manifest, rows: rows[table][1].update({column: value})


FORGED: dict[str, Forge] = {
    "a document is missing": lambda manifest, rows: rows["documents"].pop(),
    "a document is there twice": lambda manifest, rows: rows["documents"].append(rows["documents"][0]),
    "a text is a list": set_row("documents", "text", ["x"]),
    "an id is a text": set_row("documents", "id", "1"),
    "an id is too large": set_row("documents", "id", 2**62 * 3),
    "a place is a text": set_row("passages", "ordinal", "first"),
    "a number is true": set_row("passages", "start", True),
    "a vector is no base64": set_row("embeddings", "vector", "!!!"),
    "a vector is a number": set_row("embeddings", "vector", 1.5),
    "a moment is none": set_row("documents", "updated_at", "yesterday"),
    "a row is a list": lambda manifest, rows: rows.update(documents=[[1]]),
    "tables are none": lambda manifest, rows: manifest["collections"][0].update(tables=1.5),
    "ids are a text": lambda manifest, rows: manifest["collections"][0]["tables"]["documents"].update(
        ids="x"
    ),
    "counts are objects": lambda manifest, rows: manifest["collections"][0]["documents"].update(pending={}),
    "a fingerprint is a number": lambda manifest, rows: manifest["collections"][0]["encoder"].update(
        fingerprint=1
    ),
    "a classifier has no row": lambda manifest, rows: manifest["classifiers"][0].pop("row"),
    "a classifier's name is a number": lambda manifest, rows: manifest["classifiers"][0].update(name=2**63),
    "rules are true": lambda manifest, rows: manifest["classifiers"][0].update(rules=True),
    "a version's flag is a text": lambda manifest, rows: rows["classifier_versions"][0].update(
        is_tuned="yes"
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_backup_is_refused_in_words(
    world: World, store: SqlBackups, tmp_path: Path, name: str
) -> None:
    forge(tmp_path / "b/b.zip", FORGED[name])
    with pytest.raises(InvalidInput):
        restore_all(world, store)
    assert [one.name for one in world.collections.list()] == ["news"]
    assert [one.name for one in store.list()] == ["b"]  # whatever is in it


def test_what_is_sealed_anew_without_a_change_is_restored(
    world: World, store: SqlBackups, tmp_path: Path
) -> None:
    forge(tmp_path / "b/b.zip", lambda manifest, rows: None)
    restore_all(world, store)
    assert [one.name for one in world.collections.list()] == ["again", "news"]
