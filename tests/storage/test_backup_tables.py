"""Which tables a backup holds, and that none is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table

from core.errors import InvalidInput
from storage.backup_rows import from_line
from storage.backup_tables import LEFT_OUT, ROOT, plan_tables
from storage.schema import Base
from tests.storage.world import World


def test_every_table_is_backed_up_or_named_as_left_out() -> None:
    assert {plan.name for plan in plan_tables()} | set(LEFT_OUT) | {ROOT} == set(Base.metadata.tables)


def tables(*more: Column[Any], name: str = "notes", **options: Any) -> MetaData:
    metadata = MetaData()
    Table(ROOT, metadata, Column("id", Integer, primary_key=True))
    Table("jobs", metadata, Column("id", String, primary_key=True))
    Table(name, metadata, *more, **options)
    return metadata


def home() -> Column[Any]:
    return Column("collection_id", ForeignKey("collections.id"), nullable=False)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        (tables(Column("id", Integer, primary_key=True)), "lead to no collection"),
        (tables(home(), Column("id", String, primary_key=True)), "could be taken"),
        (
            tables(
                home(),
                Column("id", Integer, primary_key=True),
                Column("j", ForeignKey("jobs.id"), nullable=False),
            ),
            "refers to what is left out",
        ),
        (
            tables(
                home(),
                Column("id", Integer, primary_key=True),
                Column("above", ForeignKey("notes.id")),
            ),
            "may give an id out twice",
        ),
    ],
)
def test_a_table_of_which_nobody_decided_is_refused(metadata: MetaData, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        plan_tables(metadata)


def test_a_table_of_later_comes_along_by_itself() -> None:
    metadata = tables(
        home(),
        Column("id", Integer, primary_key=True),
        Column("above", ForeignKey("notes.id")),
        sqlite_autoincrement=True,
    )
    (plan,) = plan_tables(metadata)
    assert (plan.home, dict(plan.shifts)) == ("collection_id", {"id": "notes", "above": "notes"})


def test_unknown_and_missing_columns_are_refused(world: World) -> None:
    (documents,) = [plan for plan in plan_tables() if plan.name == "documents"]
    with pytest.raises(InvalidInput, match="does not know"):
        from_line(b'{"colour": "red"}', documents)
    with pytest.raises(InvalidInput, match="has no columns"):
        from_line(b'{"id": 1}', documents)
