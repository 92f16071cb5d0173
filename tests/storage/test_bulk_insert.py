"""Many rows at once: the same rows and the same errors on both databases."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from storage.bulk_insert import insert_rows
from storage.schema import Documents, Embeddings, Passages
from tests.storage.world import World, new

HARD = ('tab\tand\nnewline\r\\N \\. "quotes"', "", "emoji 😀 and \u2028", "\\x00 as text")


def rows_of(world: World) -> list[dict[str, object]]:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    common = {
        "collection_id": world.id, "state": "failed", "seq": 0, "passage_count": 0, "content_hash": "0" * 64,
        "metadata_hash": "1" * 64, "job_id": None, "created_at": now, "updated_at": now,
    }  # fmt: skip
    return [
        common
        | {"external_id": str(i), "title": text, "reason": text, "text": text, "metadata": {"t": [text]}}
        for i, text in enumerate(HARD)
    ]


def test_what_is_inserted_is_read_back(world: World) -> None:
    rows = rows_of(world)
    with world.database.write() as connection:
        insert_rows(connection, Documents, rows)
        insert_rows(connection, Documents, [])
    columns = [Documents.__table__.c[name] for name in rows[0]]
    with world.database.read() as connection:
        found = connection.execute(select(*columns).order_by(Documents.external_id)).mappings().all()
    assert [dict(row) for row in found] == rows


def test_bytes_are_read_back(world: World) -> None:
    world.add(new("a"))
    every = bytes(range(256))
    with world.database.write() as connection:
        document = connection.execute(select(Documents.id)).scalar_one()
        insert_rows(
            connection,
            Passages,
            [{"id": i, "document_id": document, "ordinal": i, "start": 0, "end": 1} for i in (901, 902)],
        )
        insert_rows(
            connection,
            Embeddings,
            [{"passage_id": i, "encoder_id": "e", "vector": every * i} for i in (901, 902)],
        )
    with world.database.read() as connection:
        query = select(Embeddings.passage_id, Embeddings.vector).where(Embeddings.encoder_id == "e")
        found = {row.passage_id: row.vector for row in connection.execute(query)}
    assert found == {901: every * 901, 902: every * 902}


def test_a_row_that_is_refused_leaves_none_and_the_connection_goes_on(world: World) -> None:
    rows = rows_of(world)
    with pytest.raises(IntegrityError), world.database.write() as connection:
        insert_rows(connection, Documents, [*rows, rows[0]])
    assert world.counts() == (0, 0, 0)
    with world.database.write() as connection:
        insert_rows(connection, Documents, rows)
    assert world.counts() == (0, 0, len(rows))
