"""A document that kills every process that encodes it: real processes, restarted until the work is done."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.types import CollectionSettings, RejectedItem
from migrations.upgrade import upgrade
from storage.bisecting import CRASHED, MAX_TRIES
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from tests.fakes import FAKE_INFO
from tests.storage.world import new
from tests.workers.mortal_worker import DEADLY, DIED

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = 1000
MOST_CRASHES = 13  # 3 of the batch of 256, one each of 128, 64, 32, 16, 8, 4 and 2, 3 alone
TIMEOUT_S = 280


def work_until_done(url: str) -> int:
    """Runs worker processes one after the other; how many died."""
    deadline = time.monotonic() + TIMEOUT_S
    for crashes in range(MOST_CRASHES + 1):
        command = [sys.executable, "-m", "tests.workers.mortal_worker", url]
        left_s = deadline - time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left_s)
        if done.returncode == 0:
            return crashes
        assert done.returncode == DIED, done.stderr
    raise AssertionError(f"still work left after {MOST_CRASHES} crashes")


@pytest.mark.slow
def test_a_document_that_kills_its_process_fails_and_the_other_999_are_searchable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'cognate.db'}"
    upgrade(url)
    database = Database(url)
    collections, documents = SqlCollectionStore(database), SqlDocumentStore(database)
    collection, _ = collections.create("news", "", FAKE_INFO, CollectionSettings())
    sent = [new(f"{i:03}", f"harmless text {i}") for i in range(DOCUMENTS)]
    sent[500] = new("500", f"this one is {DEADLY}")
    accepted = documents.submit(collection.id, sent, [])
    assert work_until_done(url) == MOST_CRASHES
    counts = collections.counts(collection.id)
    assert (counts.searchable, counts.pending, counts.failed) == (DOCUMENTS - 1, 0, 1)
    job = SqlJobStore(database).get(accepted.job_id)
    assert (job.state, job.total, job.done, job.failed) == ("partial", DOCUMENTS, DOCUMENTS - 1, 1)
    assert job.errors == (RejectedItem("500", CRASHED.format(tries=MAX_TRIES)),)
    assert counts.passages == DOCUMENTS - 1, "each is searchable once"
    database.close()
