"""Makes, restores and compares backups: what their tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from core.backup_types import Move, Restored
from core.job_types import JobKind
from storage.backups import SqlBackups
from storage.database import Database
from storage.long_jobs import SqlLongJobs
from storage.schema import Base, Collections, Documents, Embeddings, Passages
from storage.uploads import FsspecUploadStore
from tests.storage.world import World, new

Contents = dict[str, Any]


def make(world: World, files: FsspecUploadStore, name: str = "b", only: str | None = None) -> None:
    jobs = SqlLongJobs(world.database, world.clock)
    job = jobs.open(JobKind.BACKUP, "", {})
    store = SqlBackups(world.database, files, "test", world.clock)
    store.create(job.id, name, None if only is None else [only], lambda done: None)


def restore(database: Database, files: FsspecUploadStore, *moves: Move, name: str = "b") -> list[Restored]:
    job = SqlLongJobs(database).open(JobKind.RESTORE, "", {})
    return list(SqlBackups(database, files, "test").restore(job.id, name, moves, lambda done: None))


def contents(database: Database, name: str) -> Contents:
    """All of a collection that does not depend on where it is: rows by external id, vectors as bytes."""
    with database.read() as connection:
        query = select(Collections.__table__).where(Collections.name == name)
        row = dict(connection.execute(query).mappings().one())
        collection_id = row.pop("id")
        row.pop("uid"), row.pop("name"), row.pop("purged_seq")
        documents = {
            d["external_id"]: {k: v for k, v in d.items() if k not in ("id", "collection_id", "job_id")}
            for d in connection.execute(
                select(Documents.__table__).where(Documents.collection_id == collection_id)
            ).mappings()
        }
        passages = (
            select(
                Documents.external_id,
                Passages.ordinal,
                Passages.start,
                Passages.end,
                Embeddings.encoder_id,
                Embeddings.vector,
            )
            .join(Passages, Passages.document_id == Documents.id)
            .join(Embeddings, Embeddings.passage_id == Passages.id)
            .where(Documents.collection_id == collection_id)
            .order_by(Passages.id)  # their order decides ties
        )
        return {"row": row, "documents": documents, "passages": connection.execute(passages).all()}


def fill(world: World) -> None:
    """Documents in every state, some replaced, retagged, deleted and sent again."""
    world.add(
        *(new(f"d{i}", f"text {i} “é\n\x01”", f"title {i}", year=i, tags=["a", 1.5]) for i in range(300))
    )
    world.add(new("d1", "another text"), new("d2", "text 2 “é\n\x01”", "title 2", year=-(2**63)))
    world.documents.delete(world.id, ["d3", "d4"])
    world.add(new("d4", "here again"))
    world.fail(world.send(new("bad", "hot"), new("bad2", "hot")))
    world.add(new("empty", ""))


class Stopped(Exception):
    pass


def stopping_after(calls: int) -> Callable[[int], None]:
    left = iter(range(calls))

    def going(done: int) -> None:
        if next(left, None) is None:
            raise Stopped

    return going


def counts_of_rows(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in Base.metadata.tables.items()
        }
