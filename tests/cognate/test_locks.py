"""One process at a time uses a data folder, and an SQLite file wherever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cognate.bootstrap import open_runtime, upgrade_schema
from cognate.settings import Settings
from core.errors import StartRefused
from core.job_types import JobKind, JobState
from core.types import CollectionSettings
from storage.batches import SqlBatchStore
from storage.collections import SqlCollectionStore
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from tests.fakes import FAKE_INFO, FakeEncoder
from tests.storage.world import new, opened
from tests.waiting import wait_until


def test_a_second_server_on_one_sqlite_file_is_refused_whatever_its_folder(tmp_path: Path) -> None:
    first = Settings(data_dir=tmp_path / "first")
    url = f"sqlite:///{tmp_path}/first/cognate.db"
    second = Settings(data_dir=tmp_path / "second", database_url=url)
    with open_runtime(first, FakeEncoder()):
        with (
            pytest.raises(
                StartRefused, match=r"uses the database .*first/cognate\.db; stop it, or use Postgres"
            ),
            open_runtime(second, FakeEncoder()),
        ):
            pass
        with pytest.raises(StartRefused, match="uses the database"):
            upgrade_schema(second)
    upgrade_schema(second)
    with open_runtime(second, FakeEncoder()) as services:
        assert services.collections.list() == []


def test_a_file_that_cannot_be_there_is_refused_in_its_own_words(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/no/where.db")
    with pytest.raises(StartRefused, match=r"where\.db"), open_runtime(settings, FakeEncoder()):
        pass


def test_what_a_killed_server_worked_on_is_taken_up_at_once_by_the_next_on_its_sqlite_file(
    tmp_path: Path,
) -> None:
    """The lock tells that nobody else has the lease, which would end in a minute."""
    url = f"sqlite:///{tmp_path}/shared.db"
    upgrade_schema(Settings(data_dir=tmp_path / "none", database_url=url))
    settings = Settings(data_dir=tmp_path / "data", database_url=url)
    with opened(url) as database:
        collection, _ = SqlCollectionStore(database).create("news", "", FAKE_INFO, CollectionSettings())
        job = SqlJobStore(database).create(collection.id, JobKind.DOCUMENTS, {})
        accepted = SqlDocumentStore(database).accept(job.id, [new("a", "a cat")], [])
        assert SqlBatchStore(database).claim(accepted.batch_ids[0], lease_s=3600.0) is not None
    with open_runtime(settings, FakeEncoder()) as services:
        wait_until(lambda: services.jobs.get(job.id).state is JobState.SUCCEEDED, "the batch is taken up")
