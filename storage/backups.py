"""Backups in a folder or an object store, made from the database and restored into it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import StatementError

from core.backup_types import (
    Backup,
    Going,
    Indexing,
    Move,
    NoIndexing,
    Restored,
    SavedClassifier,
    SavedCollection,
)
from core.errors import Conflict, InvalidInput, NotFound, Unavailable
from core.types import DocumentCounts, EncoderInfo
from storage.backup_classifiers import PARTS, add_classifiers, check_classifiers, load_classifier
from storage.backup_file import (
    FORMAT,
    VERSION,
    VERSION_WITH_CLASSIFIERS,
    Archive,
    ArchiveWriter,
    Damaged,
)
from storage.backup_loading import CollectionLoader, RestoreRun
from storage.backup_tables import plan_tables
from storage.backup_writing import CollectionWriter, collection_ids, find_saved
from storage.clock import Clock, new_id
from storage.collections import collection_gone
from storage.database import Database
from storage.jobs import OPEN_STATES
from storage.removal import clear_gone
from storage.schema import Jobs
from storage.uploads import ASIDE, FsspecUploadStore

log = logging.getLogger(__name__)

SUFFIX: Final = ".zip"
MADE_BY: Final = "job"  # in the manifest: id of the job that made it, which knows its backup again by it
MAX_TOLD: Final = 200  # characters of an error
# What content of other types, numbers or names makes Python or the database raise.
_FORGED: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError, StatementError)
ABANDONED_AFTER: Final = timedelta(days=1)  # a backup being written that nobody has touched


class SqlBackups:
    """core.backup_types.BackupStore: files `<name>.zip` in `files`. `application` names what makes them."""

    def __init__(
        self,
        database: Database,
        files: FsspecUploadStore,
        application: str,
        clock: Clock | None = None,
        indexing: Indexing | None = None,
    ) -> None:
        """`indexing`: the indexes of this process, if it has any."""
        self._database, self._files, self._clock = database, files, clock or database.now
        self._application, self._indexing = application, indexing or NoIndexing()
        self._plans = plan_tables()

    def exists(self, name: str) -> bool:
        return self._files.exists(name + SUFFIX)

    def list(self) -> list[Backup]:
        """Newest first; what is not readable comes with its problem."""
        files = [file for file in self._files.list() if file.name.endswith(SUFFIX)]
        found = [self._describe(file.name.removesuffix(SUFFIX), file.modified) for file in files]
        return sorted(found, key=lambda backup: (backup.created_at, backup.name), reverse=True)

    def get(self, name: str) -> Backup:
        """Raises NotFound, or Damaged."""
        with self._read(name) as archive:
            return _backup(name, archive)

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        if not self.exists(name):
            raise _no_backup(name)
        self._files.delete(name + SUFFIX)

    def made_by(self, job_id: str, name: str) -> Backup | None:
        """The backup of this name if it is whole and this job made it, in an attempt before."""
        try:
            with self._opened(name) as archive:
                is_own = archive.manifest.get(MADE_BY) == job_id
                return _backup(name, archive) if is_own else None
        except (InvalidInput, NotFound):
            return None

    def withdraw(self, job_id: str, name: str) -> None:
        """Removes the backup of this name if this job made it."""
        if self.made_by(job_id, name) is not None:
            log.info("backup of a cancelled job removed", extra={"backup": name, "job_id": job_id})
            self._files.delete(name + SUFFIX)

    def create(self, job_id: str, name: str, collections: Sequence[str] | None, going: Going) -> Backup:
        """Writes a backup aside and publishes it whole; one of all collections has all classifiers as well.

        One that is deleted meanwhile is left out, unless it was asked for by name. Raises NotFound, Conflict
        when there is a backup of this name, StorageFull.
        """
        self._refuse_second(name)
        self.remove_abandoned(job_id)
        ids = collection_ids(self._database, collections)
        # A name for each attempt: a process that lost its lock on the job may still be writing another.
        upload = self._files.create(name + SUFFIX, f".{job_id}.{new_id()}{ASIDE}")
        archive = ArchiveWriter(upload)
        try:
            writer = CollectionWriter(self._database, self._plans, archive, going)
            saved = [writer.add(id_, f"collections/{number:04}") for number, id_ in enumerate(ids, 1)]
            if collections is not None and None in saved:
                raise collection_gone()
            classifiers = add_classifiers(self._database, archive, going) if collections is None else []
            archive.finish(self._manifest(job_id, [one for one in saved if one is not None], classifiers))
            self._refuse_second(name)
            upload.commit()
        except BaseException:
            archive.abandon()
            upload.discard()
            raise
        return self.get(name)

    def verify(self, name: str, going: Going) -> Backup:
        """Reads every byte and compares the checksums. Raises NotFound, Damaged."""
        with self._read(name) as archive:
            archive.check_seal(lambda: going(0))
            done = 0
            for saved in archive.manifest["collections"]:
                for description in saved["tables"].values():
                    for number, _ in enumerate(archive.lines(description)):
                        if number % 1000 == 0:
                            going(done)
                done += _counts(saved).total
            for saved in archive.manifest.get("classifiers", ()):
                for description in saved["tables"].values():
                    for _ in archive.lines(description):
                        pass
                going(done)
            going(done)
            return _backup(name, archive)

    def restore(self, job_id: str, name: str, moves: Sequence[Move], going: Going) -> Iterator[Restored]:
        """Brings collections back one after the other, each whole or not at all, and notes it on the job.

        Nothing is written before the seal of the whole file was found right. Raises NotFound, Damaged,
        Conflict.
        """
        with self._read(name) as archive:
            archive.check_seal(lambda: going(0))
            run = RestoreRun(job_id, going, self._indexing)
            loader = CollectionLoader(self._database, self._clock, self._plans, run)
            for move in moves:
                yield loader.load(archive, find_saved(archive.manifest, move.source, name), move)
                clear_gone(self._database)  # what was replaced, after the new one was announced

    def check_classifiers(self, names: Sequence[str], replace: bool) -> None:
        """Raises Conflict where one cannot be restored now: its name is taken, or it is in training."""
        check_classifiers(self._database, names, replace)

    def restore_classifiers(
        self, job_id: str, name: str, classifiers: Sequence[str], replace: bool, going: Going
    ) -> None:
        """Brings classifiers back one after the other, each whole or not at all, and notes it on the job.

        Raises what `restore` does.
        """
        with self._read(name) as archive:
            archive.check_seal(lambda: going(0))
            for saved in archive.manifest.get("classifiers", ()):
                if saved["name"] in classifiers:
                    going(0)
                    load_classifier(self._database, archive, saved, job_id, replace)

    def _manifest(
        self,
        job_id: str,
        collections: Sequence[Mapping[str, Any]],
        classifiers: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        held = {"classifiers": classifiers} if classifiers else {}
        return {
            "format": FORMAT,
            "version": VERSION_WITH_CLASSIFIERS if classifiers else VERSION,
            "application": self._application,
            "created_at": self._clock(),
            MADE_BY: job_id,
            "collections": collections,
            **held,
        }

    @contextmanager
    def _read(self, name: str) -> Iterator[Archive]:
        """An open archive whose content is used. Raises Damaged for any that no version of ours wrote."""
        try:
            with self._opened(name) as archive:
                yield archive
        except _FORGED as error:
            log.warning("backup is not as it was written", extra={"backup": name}, exc_info=error)
            told = str(error).partition("\n")[0][:MAX_TOLD]
            raise Damaged(
                f"Backup {name!r} holds what Cognate does not write ({type(error).__name__}: {told}); it was"
                " changed after it was made, or is of another version. Use another copy."
            ) from error

    @contextmanager
    def _opened(self, name: str) -> Iterator[Archive]:
        try:
            file = self._files.open(name + SUFFIX)
        except NotFound:
            raise _no_backup(name) from None
        with file:
            yield Archive(file)

    def _describe(self, name: str, modified: datetime) -> Backup:
        try:
            return self.get(name)
        except (InvalidInput, NotFound, Unavailable) as error:  # one that cannot be read hides no other
            return Backup(name, 0, modified, problem=str(error))

    def _refuse_second(self, name: str) -> None:
        if self.exists(name):
            raise Conflict(f"backup {name!r} exists; choose another name, or delete it")

    def remove_abandoned(self, ours: str | None = None) -> None:
        """Removes what killed processes were writing: for the job `ours`, for jobs that are over, a day ago.

        Jobs that are not known may be of another installation, which keeps its backups here too.
        """
        before = datetime.now(UTC) - ABANDONED_AFTER
        for file in self._files.list():
            if not file.name.endswith(ASIDE):
                continue
            job_id = file.name.removesuffix(ASIDE).rpartition(".")[0].rpartition(".")[2]
            if job_id == ours or file.modified < before or self._is_over(job_id):
                log.info("abandoned backup removed", extra={"file_name": file.name})
                self._files.delete(file.name)

    def _is_over(self, job_id: str) -> bool:
        over = select(Jobs.id).where(Jobs.id == job_id, Jobs.state.not_in(OPEN_STATES))
        with self._database.read() as connection:
            return connection.execute(over).first() is not None


def _backup(name: str, archive: Archive) -> Backup:
    manifest = archive.manifest
    try:
        collections = tuple(
            SavedCollection(one["name"], EncoderInfo(**one["encoder"]), one["seq"], _counts(one))
            for one in manifest["collections"]
        )
        created_at = datetime.fromisoformat(manifest["created_at"])
        classifiers = tuple(
            SavedClassifier(one["name"], *(one["tables"][part]["rows"] for part in PARTS))
            for one in manifest.get("classifiers", ())
        )
        application = str(manifest["application"])
        _require_types(collections, classifiers)
        return Backup(name, archive.size, created_at, application, collections, classifiers)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(
            f"The manifest of backup {name!r} lacks something: {type(error).__name__} {error}."
        ) from None


def _require_types(collections: Sequence[SavedCollection], classifiers: Sequence[SavedClassifier]) -> None:
    """Raises TypeError where a name is no text, or a count no number."""
    texts: list[object] = []
    numbers: list[object] = []
    for kept in classifiers:
        texts.append(kept.name)
        numbers += (kept.examples, kept.versions)
    for one in collections:
        texts += (one.name, one.encoder.id, one.encoder.fingerprint)
        numbers += (one.seq, one.encoder.dim, one.encoder.max_tokens, *asdict(one.documents).values())
    wrong = [
        found
        for kind, values in ((str, texts), (int, numbers))
        for found in values
        if type(found) is not kind
    ]
    if wrong:
        raise TypeError(f"found {wrong[0]!r}"[:MAX_TOLD])


def _counts(saved: Mapping[str, Any]) -> DocumentCounts:
    return DocumentCounts(**saved["documents"])


def _no_backup(name: str) -> NotFound:
    return NotFound(f"backup {name!r} does not exist; list them with GET /v1/admin/backups")
