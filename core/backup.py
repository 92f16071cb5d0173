"""Use case backup: make, list, verify, restore and delete backups; what takes long is a job."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from core.backup_types import Backup, BackupStore, Going, Move, Restored, RestoreRequest
from core.collections import check_name, require_encoder
from core.errors import CognateError, Conflict, InvalidInput, NotFound, Overloaded, Unavailable
from core.job_types import Job, JobKind, JobState, Task, TaskKind
from core.long_jobs import LongJobRunner
from core.ports.models import Encoder
from core.ports.stores import CollectionStore
from core.ports.work import Notifier, TaskQueue

log = logging.getLogger(__name__)

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
NAMED: Final = 10  # collections, and classifiers, that a reason names


@dataclass(frozen=True, slots=True)
class BackupService:
    """Answers what is asked of backups, and works on their jobs."""

    backups: BackupStore
    long: LongJobRunner
    collections: CollectionStore
    encoder: Encoder
    queue: TaskQueue
    notifier: Notifier

    def create(self, name: str | None, collection: str | None, request_id: str = "") -> Job:
        """Queues a backup of one collection, or of all. Raises InvalidInput, NotFound, Conflict."""
        if collection is not None:
            self.collections.get(collection)
        if name is None:
            name = default_name(collection, datetime.now(UTC))
        _check_backup_name(name)
        if self.backups.exists(name):
            raise Conflict(f"backup {name!r} exists; choose another name, or delete it")
        details = {"backup": name, "collections": None if collection is None else [collection]}
        return self.long.open(JobKind.BACKUP, collection or "", details, request_id)

    def list(self) -> Sequence[Backup]:
        return self.backups.list()

    def get(self, name: str) -> Backup:
        """Raises NotFound, or InvalidInput when it is damaged."""
        _check_backup_name(name)
        return self.backups.get(name)

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        _check_backup_name(name)
        self.backups.delete(name)

    def remove_abandoned(self) -> None:
        """Removes what killed processes left of backups that will never be whole; for the purge."""
        self.backups.remove_abandoned()

    def verify(self, name: str, request_id: str = "") -> Job:
        """Queues a comparison of all checksums. Raises NotFound, InvalidInput."""
        self.get(name)
        return self.long.open(JobKind.VERIFY, "", {"backup": name}, request_id)

    def restore(self, name: str, request: RestoreRequest, request_id: str = "") -> Job:
        """Queues a restore.

        Raises NotFound, InvalidInput, EncoderMismatch, and Conflict for a name that is taken, or for a
        classifier to be replaced that is in training.
        """
        backup = self.get(name)
        moves = choose(backup, request)
        self._check_moves(name, moves)
        classifiers = chosen_classifiers(backup, request)
        self.backups.check_classifiers(classifiers, request.replace)
        details = {
            "backup": name,
            "moves": [asdict(move) for move in moves],
            "classifiers": classifiers,
            "replace": request.replace,
        }
        about = moves[0].target if len(moves) == 1 else ""
        return self.long.open(JobKind.RESTORE, about, details, request_id)

    def run(self, job_id: str) -> None:
        """Works on a job, from its beginning if it was begun before; what was restored stays so.

        Raises Unavailable or Overloaded, to be tried again; any other error ends the job with its reason.
        """
        self.long.run(
            job_id,
            {JobKind.BACKUP: self._make, JobKind.RESTORE: self._restore, JobKind.VERIFY: self._verify},
        )
        self._withdraw_cancelled(job_id)

    def _withdraw_cancelled(self, job_id: str) -> None:
        """Removes a backup whose job was cancelled while its file was finished."""
        try:
            job = self.long.jobs.get(job_id)
        except NotFound:
            return
        if job.kind is JobKind.BACKUP and job.state is JobState.CANCELLED:
            self.backups.withdraw(job.id, job.details["backup"])

    def _make(self, job: Job) -> int:
        made = self.backups.made_by(job.id, job.details["backup"])
        if made is not None:  # by an attempt that ended before the job did
            return made.documents
        names = job.details["collections"]
        listed = self.collections.list() if names is None else [self.collections.get(name) for name in names]
        total = sum(self.collections.counts(collection.id).total for collection in listed)
        going = self.long.going(job.id, total)
        return self.backups.create(job.id, job.details["backup"], names, going).documents

    def _verify(self, job: Job) -> int:
        name = job.details["backup"]
        going = self.long.going(job.id, self.backups.get(name).documents)
        return self.backups.verify(name, going).documents

    def _restore(self, job: Job) -> int:
        name, moves = job.details["backup"], [Move(**move) for move in job.details["moves"]]
        there = job.details.get("restored", [])
        left = [move for move in moves if move.target not in there]
        is_begun = there or job.details.get("restored_classifiers")
        if is_begun and not left and not _classifiers_left(job):  # the backup may be gone by now
            return job.total
        backup = self.backups.get(name)
        sizes = {one.name: one.documents.total for one in backup.collections}
        before = sum(sizes[move.source] for move in moves if move.target in there)
        total = before + sum(sizes[move.source] for move in left)
        going = self.long.going(job.id, total, before)
        try:
            self._check_moves(name, left)
            self._restore_classifiers(job, going)  # first: what may refuse them refuses the whole
            for move, restored in zip(left, self.backups.restore(job.id, name, left, going), strict=True):
                self._announce(move.target, restored)
        except Exception as error:
            there = self._count_what_is_there(job.id, moves, sizes, total)
            if _is_final(error):
                raise Conflict(f"{error} {_told(there, moves)}") from error
            raise
        return total

    def _restore_classifiers(self, job: Job, going: Going) -> None:
        """Checks all before the first gives way to that of the backup."""
        if left := _classifiers_left(job):
            replace = job.details["replace"]
            self.backups.check_classifiers(left, replace)
            self.backups.restore_classifiers(job.id, job.details["backup"], left, replace, going)

    def _count_what_is_there(
        self, job_id: str, moves: Sequence[Move], sizes: Mapping[str, int], total: int
    ) -> Job:
        """Notes as done the documents of whole collections alone: one that was begun has left nothing."""
        job = self.long.jobs.get(job_id)
        there = job.details.get("restored", [])
        done = sum(sizes[move.source] for move in moves if move.target in there)
        self.long.work.advance(job_id, done, total)
        return job

    def _announce(self, target: str, restored: Restored) -> None:
        """Lets indexes and workers know."""
        log.info("collection restored", extra={"collection": target, "seq": restored.seq})
        self.queue.enqueue([Task(TaskKind.INGEST_BATCH, batch_id) for batch_id in restored.batch_ids])
        self.notifier.publish(restored.collection_id, restored.seq)

    def _check_moves(self, name: str, moves: Sequence[Move]) -> None:
        saved = {one.name: one for one in self.backups.get(name).collections}
        taken = {collection.name for collection in self.collections.list()}
        for move in moves:
            require_encoder(move.source, saved[move.source].encoder, self.encoder)
            if move.target in taken and not move.replace:
                raise Conflict(
                    f"Collection {move.target!r} exists. Restore under another name (as), or let it be"
                    " replaced (replace)."
                )


def _classifiers_left(job: Job) -> list[str]:
    """Names of those that a restore has not brought back yet."""
    wanted = job.details.get("classifiers", [])  # a job queued by an earlier version has none
    there = job.details.get("restored_classifiers", [])
    return [name for name in wanted if name not in there]


def _is_final(error: Exception) -> bool:
    """Whether it ends the job with a reason that was meant to be read."""
    return isinstance(error, CognateError) and not isinstance(error, (Unavailable, Overloaded))


def _told(job: Job, moves: Sequence[Move]) -> str:
    """What a restore brought back before it failed, and what not."""
    collections, classifiers = job.details.get("restored", []), job.details.get("restored_classifiers", [])
    if not collections and not classifiers:
        return "Nothing was changed."
    left = [move.target for move in moves if move.target not in collections]
    return (
        f"Restored before: {listed(collections, classifiers)}."
        f" Not restored, and as before: {listed(left, _classifiers_left(job))}."
    )


def listed(collections: Sequence[str], classifiers: Sequence[str]) -> str:
    """The names, as far as they are few."""
    parts = [
        f"{kind} {', '.join(names[:NAMED])}" + (f" and {len(names) - NAMED:,} more" if names[NAMED:] else "")
        for kind, names in (("collections", collections), ("classifiers", classifiers))
        if names
    ]
    return "; ".join(parts) or "nothing"


def default_name(collection: str | None, now: datetime) -> str:
    """A name that sorts by time, to the millisecond: two calls in one second get two."""
    stamp = now.strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return stamp if collection is None else f"{stamp}-{collection}"


def choose(backup: Backup, request: RestoreRequest) -> list[Move]:
    """Which collections are restored under which names. Raises NotFound, InvalidInput."""
    held = [one.name for one in backup.collections]
    if request.collection is not None and request.collection not in held:
        listed = ", ".join(held) or "none"
        raise NotFound(f"Backup {backup.name!r} has no collection {request.collection!r}; it has {listed}.")
    chosen = held if request.collection is None else [request.collection]
    if request.new_name is not None:
        check_name(request.new_name)
        if len(chosen) != 1:
            raise InvalidInput(
                f"Backup {backup.name!r} has {len(chosen)} collections, and one new name (as) was given: say"
                " which collection to restore."
            )
    return [Move(name, request.new_name or name, request.replace) for name in chosen]


def chosen_classifiers(backup: Backup, request: RestoreRequest) -> list[str]:
    """Names of all where all collections are restored, else none."""
    is_whole = request.collection is None and request.new_name is None
    return [one.name for one in backup.classifiers] if is_whole else []


def _check_backup_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInput(
            f"Backup name {name[:120]!r} is not allowed: use 1 to 100 letters, digits, '-', '_' and '.',"
            " starting with a letter or digit."
        )
