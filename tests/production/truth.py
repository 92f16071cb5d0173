"""What the database of a deployment holds, read past the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import psycopg

from tests.production.processes import LEASE_S, Deployment

Vectors = dict[tuple[str, int], npt.NDArray[np.float32]]

_VECTORS = """
SELECT documents.external_id, passages.ordinal, embeddings.vector
FROM documents
JOIN collections ON collections.id = documents.collection_id
JOIN passages ON passages.document_id = documents.id
JOIN embeddings ON embeddings.passage_id = passages.id
WHERE collections.name = %s AND documents.state = 'searchable'
"""
_RUNNING = "SELECT count(*) FROM batches WHERE state = 'running' AND lease_until > %s"


def connect(deployment: Deployment) -> psycopg.Connection:
    return psycopg.connect(deployment.database_url.replace("+psycopg", ""))


def running_batches(deployment: Deployment, since: datetime = datetime(2000, 1, 1, tzinfo=UTC)) -> int:
    """How many are leased by a worker that has shown life since then."""
    with connect(deployment) as connection:
        row = connection.execute(_RUNNING, [since + timedelta(seconds=LEASE_S)]).fetchone()
    assert row is not None
    return int(row[0])


def stored_vectors(deployment: Deployment, collection: str) -> Vectors:
    """(document id, ordinal) -> vector (d,) of every searchable passage; fails on one stored twice."""
    with connect(deployment) as connection:
        rows = connection.execute(_VECTORS, [collection]).fetchall()
    found = {(id_, ordinal): np.frombuffer(data, "<f2").astype(np.float32) for id_, ordinal, data in rows}
    assert len(found) == len(rows), "a passage has two vectors"
    return found


def assert_same_vectors(found: Vectors, expected: Vectors) -> None:
    """Which texts share a micro-batch moves the last bits: a cosine of 0.9999 is the same vector."""
    assert found.keys() == expected.keys()
    for place, vector in found.items():
        other = expected[place]
        cosine = vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)
        assert cosine >= 0.9999, f"{place}: cosine {cosine} to a clean run"
