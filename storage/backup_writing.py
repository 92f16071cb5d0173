"""Copies collections into an archive, each as it is at one moment, while others write to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, select

from core.backup_types import Going
from core.errors import NotFound
from storage.backup_file import ArchiveWriter
from storage.backup_rows import read_rows, to_line
from storage.backup_tables import DOCUMENTS, TablePlan
from storage.collections import count_documents, no_collection, to_collection
from storage.database import Database
from storage.removal import GONE, HIDDEN
from storage.schema import Collections

ROWS_BETWEEN_LOOKS: Final = 200
OWN: Final = frozenset({"id", "uid", "name"})  # of the collection's row: a restored one has its own
_TABLE = Collections.__table__


def collection_ids(database: Database, names: Sequence[str] | None) -> list[int]:
    """Ids of these collections, or of all. Raises NotFound."""
    with database.read() as connection:
        found = {row.name: row.id for row in connection.execute(select(_TABLE).order_by(Collections.name))}
    if names is None:
        return [id_ for name, id_ in found.items() if not name.startswith(HIDDEN)]
    for name in names:
        if name not in found:
            raise no_collection(name)
    return [found[name] for name in names]


class CollectionWriter:
    """Adds collections to one archive; `going` is told the documents of all of them."""

    def __init__(
        self, database: Database, plans: Sequence[TablePlan], archive: ArchiveWriter, going: Going
    ) -> None:
        self._database, self._plans, self._archive, self._going = database, plans, archive, going
        self._documents = 0

    def add(self, collection_id: int, folder: str) -> Mapping[str, Any] | None:
        """What the manifest says of the collection; None when it was deleted meanwhile.

        All rows are of one snapshot, so they and the seq belong together. Nobody waits for it.
        """
        with self._database.read() as connection:
            self._database.let_pause(connection)
            row = connection.execute(select(_TABLE).where(Collections.id == collection_id)).first()
            if row is None or row.name.startswith(GONE):
                return None
            collection, counts = to_collection(row), count_documents(connection, collection_id)
            tables = {
                plan.name: self._add_table(connection, plan, collection_id, folder) for plan in self._plans
            }
        return {
            "name": collection.name,
            "seq": collection.seq,
            "encoder": asdict(collection.encoder),
            "documents": asdict(counts),
            "row": {str(name): value for name, value in row._mapping.items() if name not in OWN},
            "tables": tables,
        }

    def _add_table(
        self, connection: Connection, plan: TablePlan, collection_id: int, folder: str
    ) -> dict[str, Any]:
        name, ids = f"{folder}/{plan.name}.jsonl", _Range()
        rows = read_rows(connection, plan, collection_id)
        with self._archive.member(name) as member, closing(rows):
            for number, row in enumerate(rows):
                member.add(to_line(row))
                if plan.id_column is not None:
                    ids.add(row[plan.id_column])
                self._documents += plan.name == DOCUMENTS
                if number % ROWS_BETWEEN_LOOKS == 0:
                    self._going(self._documents)
        return member.description(name) | {"ids": ids.ends}


class _Range:
    """The smallest and the largest of the numbers added."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    def add(self, number: int) -> None:
        first, last = self.ends or (number, number)
        self.ends = [min(first, number), max(last, number)]


def find_saved(manifest: Mapping[str, Any], name: str, backup: str) -> Mapping[str, Any]:
    """What the manifest says of a collection. Raises NotFound."""
    saved: Mapping[str, Any]
    for saved in manifest["collections"]:
        if saved["name"] == name:
            return saved
    held = ", ".join(sorted(one["name"] for one in manifest["collections"])) or "none"
    raise NotFound(f"Backup {backup!r} has no collection {name!r}; it has {held}.")
