"""Snapshots of an index on local disk: written aside, verified on load, never trusted over the database."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from core.errors import CognateError
from core.types import Collection
from indexer.collection_index import IndexState
from indexer.delta import DeltaRows
from indexer.gpu import copied_to_gpu
from indexer.main_index import MainIndex, is_lossless, stored_vectors, use_huge_pages_for_graph
from indexer.search_index import SearchIndex, SearchState
from indexer.snapshot_files import sha256, sync_folder, write_array, write_index, write_text
from indexer.term_sets import Arrays

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 3


class Layout:
    """Names in a snapshot folder: `<root>/<collection uid>/snapshot-<n>/<file>`; n grows with each."""

    PREFIX: Final = "snapshot-"
    REJECTED: Final = ".rejected"
    ASIDE: Final = ".writing-"
    MANIFEST: Final = "manifest.json"
    MAIN: Final = "main.faiss"
    PASSAGE_IDS: Final = "passage_ids.npy"
    DOCUMENT_IDS: Final = "document_ids.npy"
    ALIVE: Final = "alive.npy"
    DELTA: Final = "delta.npy"
    ORIGINALS: Final = "originals.npy"
    WORDS: Final = "words"
    ATTRIBUTES: Final = "attributes"
    TERMS: Final = "terms"

    @staticmethod
    def collection(root: Path, uid: str) -> Path:
        """A uid that is no plain file name is replaced by its hash."""
        is_plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", uid) is not None
        return root / (uid if is_plain else hashlib.sha256(uid.encode()).hexdigest())

    @staticmethod
    def number(folder: Path) -> int:
        """n of a snapshot folder; -1 for any other name."""
        match = re.fullmatch(rf"{Layout.PREFIX}(\d+)", folder.name)
        return int(match[1]) if match else -1


class Rejected(Exception):
    """Why a snapshot cannot be used."""


class SnapshotStore:
    """Snapshots of all collections under one root that belongs to this process alone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, collection: Collection, index: SearchIndex) -> SearchState | None:
        """Writes the index's state, which is returned, then removes older snapshots.

        Older snapshots stay until the new one is whole and on the disk. None, with a log line, if the disk
        refuses.
        """
        home = Layout.collection(self._root, collection.uid)
        aside = home / f"{Layout.ASIDE}{os.getpid()}"
        try:
            for left in home.glob(f"{Layout.ASIDE}*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            aside.mkdir(parents=True)
            state = index.capture(aside / Layout.WORDS)
            _write(aside, collection, state)
            older = _snapshots(home)
            newest = home / f"{Layout.PREFIX}{max(map(Layout.number, older), default=0) + 1:012d}"
            aside.rename(newest)
            sync_folder(home)
            for folder in older:
                shutil.rmtree(folder, ignore_errors=True)
        except (OSError, RuntimeError, ValueError, CognateError) as error:  # also from indexes
            shutil.rmtree(aside, ignore_errors=True)
            logger.error("snapshot_not_written", extra=_fields(collection, home, error))
            return None
        logger.info(
            "snapshot_written", extra=_fields(collection, newest) | {"seq": state.vectors.applied_seq}
        )
        return state

    def load(self, collection: Collection) -> SearchState | None:
        """The newest usable state; None if there is none, so that the log is replayed from its beginning.

        A damaged or foreign snapshot is renamed to `*.rejected` (one is kept) with a log line that says why.
        """
        home = Layout.collection(self._root, collection.uid)
        for folder in sorted(_snapshots(home), key=Layout.number, reverse=True):
            try:
                return _read(folder, collection)
            except (Rejected, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
                logger.warning("snapshot_rejected", extra=_fields(collection, folder, error))
                _set_aside(folder)
        return None

    def reject(self, collection: Collection, error: Exception) -> None:
        """Sets all snapshots of a collection aside, because an index could not be made of one."""
        for folder in _snapshots(Layout.collection(self._root, collection.uid)):
            logger.warning("snapshot_rejected", extra=_fields(collection, folder, error))
            _set_aside(folder)

    def drop(self, uid: str) -> None:
        """Removes the folder of a collection."""
        shutil.rmtree(Layout.collection(self._root, uid), ignore_errors=True)

    def drop_others(self, uids: set[str]) -> None:
        """Removes snapshots of collections that exist no more; leaves folders it did not make."""
        kept = {Layout.collection(self._root, uid) for uid in uids}
        homes = [path for path in self._root.iterdir() if path.is_dir()] if self._root.is_dir() else []
        for home in homes:
            if home not in kept and _is_home(home):
                logger.info("snapshot_dropped", extra={"path": str(home)})
                shutil.rmtree(home, ignore_errors=True)


def _is_home(folder: Path) -> bool:
    names = [path.name for path in folder.iterdir()]
    return bool(names) and all(name.startswith((Layout.PREFIX, Layout.ASIDE)) for name in names)


def _snapshots(home: Path) -> list[Path]:
    return [path for path in home.iterdir() if Layout.number(path) >= 0] if home.is_dir() else []


def _set_aside(folder: Path) -> None:
    try:
        for old in folder.parent.glob(f"*{Layout.REJECTED}"):
            shutil.rmtree(old, ignore_errors=True)
        folder.rename(folder.with_name(folder.name + Layout.REJECTED))
    except OSError as error:
        logger.warning("snapshot_not_set_aside", extra={"path": str(folder), "reason": str(error)})


def _fields(collection: Collection, path: Path, error: Exception | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = {"collection": collection.name, "path": str(path)}
    return fields | {"reason": str(error) or type(error).__name__} if error else fields


def _write(folder: Path, collection: Collection, state: SearchState) -> None:
    vectors = state.vectors
    write_index(folder / Layout.MAIN, vectors.main.index)
    for name, array in _arrays(vectors):
        write_array(folder / name, array)
    _write_arrays(folder / Layout.ATTRIBUTES, state.attributes)
    _write_arrays(folder / Layout.TERMS, state.terms)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = _identity(collection) | {
        "seq": vectors.applied_seq,
        "cursor": list(vectors.cursor),
        "changes": vectors.changes,
        "main_rows": vectors.main.n,
        "delta_rows": vectors.delta.n,
        "trained_rows": vectors.main.trained_rows,
        "kind": vectors.main.factory,
        "recall_at_10": vectors.main.recall_at_10,
        "effort": vectors.main.effort,
        "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
    }
    text = json.dumps(manifest | {"checksum": _checksum(manifest)}, indent=1)
    write_text(folder / Layout.MANIFEST, text)
    sync_folder(folder)


def _arrays(state: IndexState) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Vectors come from the database as float16, so float16 holds them without loss."""
    main, delta = state.main, state.delta
    yield Layout.PASSAGE_IDS, np.concatenate([main.passage_ids, delta.passage_ids])
    yield Layout.DOCUMENT_IDS, np.concatenate([main.document_ids, delta.document_ids])
    yield Layout.ALIVE, state.alive
    yield Layout.DELTA, delta.vectors.astype(np.float16)
    if not main.is_lossless:
        yield Layout.ORIGINALS, main.vectors


def _write_arrays(folder: Path, arrays: Arrays) -> None:
    folder.mkdir()
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    sync_folder(folder)


def _identity(collection: Collection) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "collection": collection.uid,
        "encoder": collection.encoder.fingerprint,
        "d": collection.encoder.dim,
    }


def _read(folder: Path, collection: Collection) -> SearchState:
    manifest = _read_manifest(folder, collection)
    vectors = _read_vectors(folder, manifest, collection)
    attributes, terms = _load_all(folder / Layout.ATTRIBUTES), _load_all(folder / Layout.TERMS)
    return SearchState(vectors, attributes, terms, folder / Layout.WORDS)


def _read_vectors(folder: Path, manifest: Mapping[str, Any], collection: Collection) -> IndexState:
    main_rows, rows = manifest["main_rows"], manifest["main_rows"] + manifest["delta_rows"]
    index = faiss.read_index(str(folder / Layout.MAIN))
    d = collection.encoder.dim
    _expect("vectors in main", (index.ntotal, index.d), (main_rows, d))
    use_huge_pages_for_graph(index)
    vectors = stored_vectors(index) if is_lossless(index) else _load(folder / Layout.ORIGINALS)
    passage_ids, document_ids = _load(folder / Layout.PASSAGE_IDS), _load(folder / Layout.DOCUMENT_IDS)
    alive, delta = _load(folder / Layout.ALIVE), _load(folder / Layout.DELTA).astype(np.float32)
    shapes = (vectors.shape, passage_ids.shape, document_ids.shape, alive.shape, delta.shape)
    _expect("shapes", shapes, ((main_rows, d), (rows,), (rows,), (rows,), (rows - main_rows, d)))
    main = MainIndex(
        manifest["kind"], index, vectors, passage_ids[:main_rows], document_ids[:main_rows],
        manifest["trained_rows"], manifest["recall_at_10"], manifest["effort"], copied_to_gpu(index),
    )  # fmt: skip
    rest = DeltaRows(delta, passage_ids[main_rows:], document_ids[main_rows:])
    cursor = (manifest["cursor"][0], manifest["cursor"][1])
    return IndexState(main, rest, alive, cursor, manifest["seq"], manifest["changes"])


def _read_manifest(folder: Path, collection: Collection) -> Mapping[str, Any]:
    """The manifest, once it and all files are found whole and of this collection, encoder and history."""
    manifest = json.loads((folder / Layout.MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict):
        raise Rejected("the manifest is no JSON object")
    _expect("checksum of the manifest", manifest.pop("checksum", None), _checksum(manifest))
    for name, own in _identity(collection).items():
        _expect(name, manifest[name], own)
    newest = max(manifest["seq"], manifest["cursor"][0])
    if newest > collection.seq:
        raise Rejected(f"it is at seq {newest}, but the database only at {collection.seq}")
    if manifest["seq"] < collection.purged_seq:
        raise Rejected(f"it is at seq {manifest['seq']}, but the log is purged up to {collection.purged_seq}")
    for name, expected in manifest["files"].items():
        _expect(f"sha256 of {name}", sha256(folder / name), expected)
    return manifest


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Rejected(f"{what}: found {found}, expected {expected}")


def _load_all(folder: Path) -> Arrays:
    return {path.stem: _load(path) for path in folder.glob("*.npy")}


def _load(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _checksum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
