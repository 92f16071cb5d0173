"""A snapshot restores the same index; anything damaged or foreign is set aside with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.filters import AnyOf
from core.types import Collection
from indexer import snapshot_files
from indexer.main_index import Build
from indexer.search_index import SearchIndex
from indexer.snapshot import Layout, SnapshotStore
from tests.indexer.fakes import D, FakeDatabase, compact_all, search_index, unit_rows

FILES = (Layout.MAIN, Layout.PASSAGE_IDS, Layout.DOCUMENT_IDS, Layout.ALIVE, Layout.DELTA, Layout.MANIFEST)


def sample(folder: Path, index: str = "auto", documents: int = 60) -> tuple[Collection, SearchIndex]:
    """A collection with rows in main and delta, some of them dead."""
    database, rng = FakeDatabase(), np.random.default_rng(0)
    id_ = database.add_collection("news", index=index).id
    owner = search_index(folder.with_name("live"), index)
    for step in range(2):
        database.put(id_, {i: unit_rows(rng, 2) for i in range(step * 10, documents)})
        database.put(id_, {3 + step: unit_rows(rng, 0)})
        owner.apply(database.read(id_, owner.cursor, 100_000))
        if step == 0:
            compact_all(owner, Build(index))
    return database.collections[id_], owner


def only_snapshot(root: Path) -> Path:
    (folder,) = root.glob(f"*/{Layout.PREFIX}*")
    return folder


@pytest.mark.parametrize("setting", ["auto", "HNSW8", "SQ8"])
def test_a_restored_index_answers_the_same(tmp_path: Path, setting: str) -> None:
    collection, index = sample(tmp_path, setting, documents=6000 if setting == "SQ8" else 60)
    store = SnapshotStore(tmp_path)
    assert store.save(collection, index)
    state = store.load(collection)
    assert state is not None
    restored = search_index(tmp_path / "live", setting, state)
    queries = unit_rows(np.random.default_rng(1), 20).astype(np.float32)
    assert restored.view.dense(queries, 10) == index.view.dense(queries, 10)
    assert restored.view.lexical("beta", 10) == index.view.lexical("beta", 10)
    everything = AnyOf("kind", ("beta",))
    assert restored.view.select(everything).ids().tolist() == index.view.select(everything).ids().tolist()
    assert restored.cursor == index.cursor
    found, expected = restored.stats(), index.stats()
    assert replace(found, bytes=0) == replace(expected, bytes=0)


def test_the_empty_index_can_be_saved(tmp_path: Path) -> None:
    collection = FakeDatabase().add_collection("news")
    store = SnapshotStore(tmp_path)
    assert store.save(collection, search_index(tmp_path / "live"))
    state = store.load(collection)
    assert state is not None
    assert len(state.vectors.alive) == 0


def test_only_the_newest_snapshot_is_kept(tmp_path: Path) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    for _ in range(3):
        assert store.save(collection, index)
    assert only_snapshot(tmp_path).name == "snapshot-000000000003"
    assert [path.name for path in (tmp_path / collection.uid).iterdir()] == ["snapshot-000000000003"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [truncate, flip_a_byte, empty, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_noticed(
    tmp_path: Path, name: str, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    store.save(collection, index)
    harm(only_snapshot(tmp_path) / name)
    assert store.load(collection) is None
    (record,) = [record for record in caplog.records if record.message == "snapshot_rejected"]
    assert record.__dict__["reason"]
    assert [path.name for path in (tmp_path / collection.uid).iterdir()] == ["snapshot-000000000001.rejected"]


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", "{", '{"checksum": 1}', "\x00" * 50])
def test_a_garbage_manifest_is_noticed(tmp_path: Path, content: str) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    store.save(collection, index)
    (only_snapshot(tmp_path) / Layout.MANIFEST).write_text(content)
    assert store.load(collection) is None


def test_a_changed_number_in_the_manifest_is_noticed(tmp_path: Path) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    store.save(collection, index)
    path = only_snapshot(tmp_path) / Layout.MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"seq": manifest["seq"] - 1}))
    assert store.load(collection) is None


def foreign(collection: Collection, what: str) -> Collection:
    encoder = collection.encoder
    return {
        "encoder": replace(collection, encoder=replace(encoder, fingerprint="0" * 64)),
        "d": replace(collection, encoder=replace(encoder, dim=D + 1)),
        "the database only at": replace(collection, seq=collection.seq - 1),
        "purged up to": replace(collection, purged_seq=collection.seq + 1),
    }[what]


@pytest.mark.parametrize("what", ["encoder", "d", "the database only at", "purged up to"])
def test_a_snapshot_of_another_encoder_or_history_is_set_aside(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    store.save(collection, index)
    assert store.load(foreign(collection, what)) is None
    assert what in caplog.records[-1].__dict__["reason"]
    assert store.load(collection) is None  # nothing comes back from aside


def test_a_snapshot_of_another_collection_is_set_aside(tmp_path: Path) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    store.save(collection, index)
    (tmp_path / collection.uid).rename(tmp_path / "uid-other")
    assert store.load(replace(collection, uid="uid-other")) is None


def test_one_rejected_snapshot_is_kept(tmp_path: Path) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    for _ in range(2):
        store.save(collection, index)
        (tmp_path / collection.uid / "other").mkdir(exist_ok=True)
        store.load(replace(collection, seq=0))
    assert len(list(tmp_path.glob(f"*/*{Layout.REJECTED}"))) == 1


def on_a_full_disk(name: str) -> Callable[[Path, str], Any]:
    """`open`, but the file of this name gets the system's own refusal of every byte."""

    def opened(path: Path, mode: str) -> Any:
        return open("/dev/full", "wb") if path.name == name and "r" not in mode else open(path, mode)

    return opened


@pytest.mark.parametrize("name", [*FILES, Layout.ORIGINALS])
def test_a_full_disk_is_named_and_leaves_the_previous_snapshot(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection, index = sample(tmp_path, "SQ8", documents=6000)
    store = SnapshotStore(tmp_path)
    store.save(collection, index)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot_files, "open", on_a_full_disk(name), raising=False)
        assert not store.save(collection, index)
    (record,) = [record for record in caplog.records if record.message == "snapshot_not_written"]
    assert "No space left on device" in record.__dict__["reason"]
    assert [path.name for path in (tmp_path / collection.uid).iterdir()] == ["snapshot-000000000001"]
    assert store.load(collection) is not None
    assert store.save(collection, index)


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    left = tmp_path / collection.uid / f"{Layout.ASIDE}1"
    left.mkdir(parents=True)
    (left / Layout.MAIN).write_bytes(b"half")
    assert store.save(collection, index)
    assert [path.name for path in (tmp_path / collection.uid).iterdir()] == ["snapshot-000000000001"]


def test_snapshots_of_collections_that_are_gone_are_removed_and_nothing_else(tmp_path: Path) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    store.save(collection, index)
    store.save(replace(collection, uid="uid-gone"), index)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("keep")
    store.drop_others({collection.uid})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", collection.uid]


@pytest.mark.parametrize("uid", ["../escape", "a/b", "", ".", "x" * 300])
def test_a_uid_never_leaves_the_root(tmp_path: Path, uid: str) -> None:
    assert Layout.collection(tmp_path, uid).parent == tmp_path


def test_float16_holds_the_delta_without_loss(tmp_path: Path) -> None:
    collection, index = sample(tmp_path)
    store = SnapshotStore(tmp_path)
    captured = store.save(collection, index)
    state = store.load(collection)
    assert state is not None
    assert captured is not None
    np.testing.assert_array_equal(state.vectors.delta.vectors, captured.vectors.delta.vectors)
