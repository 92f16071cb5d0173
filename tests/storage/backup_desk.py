"""The use case of backups on a real database and folder, and a store that dies half way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.backup import BackupService
from core.backup_types import Going, Move, Restored
from core.job_types import JobState
from core.long_jobs import LongJobRunner
from core.types import EncoderInfo
from storage.backups import SqlBackups
from storage.long_jobs import SqlLongJobs
from storage.uploads import BACKUPS, local_uploads
from tests.fakes import FakeEncoder, ListQueue, RecordingNotifier
from tests.storage.world import ENCODER, World, new


class Dying(SqlBackups):
    """Restores one collection, then the process ends."""

    def restore(self, job_id: str, name: str, moves: Sequence[Move], going: Going) -> Iterator[Restored]:
        yield next(iter(super().restore(job_id, name, moves[:1], going)))
        raise KeyboardInterrupt


@dataclass
class Desk:
    """The use case on a real database and folder."""

    world: World
    folder: Path
    is_stopping: bool = False

    def __post_init__(self) -> None:
        self.queue, self.notifier = ListQueue(), RecordingNotifier()

    def service(self, store: type[SqlBackups] = SqlBackups, encoder: EncoderInfo = ENCODER) -> BackupService:
        database = self.world.database
        return BackupService(
            store(database, local_uploads(self.folder, BACKUPS), "test"),
            LongJobRunner(SqlLongJobs(database), self.world.jobs, self.queue, lambda: self.is_stopping),
            self.world.collections,
            FakeEncoder(info=encoder),
            self.queue,
            self.notifier,
        )

    def state(self, job_id: str) -> JobState:
        return self.world.jobs.get(job_id).state


def opened_desk(world: World, tmp_path: Path) -> Desk:
    world.add(new("a"), new("b"))
    return Desk(world, tmp_path / "backups")
