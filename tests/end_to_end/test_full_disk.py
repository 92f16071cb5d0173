"""A server whose disk has no room for a snapshot: it says so, keeps the one before, and goes on."""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from indexer.snapshot import Layout
from tests.production.processes import Api
from tests.production.traffic import count, create, is_applied, post, search, some_documents
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SIZE = 20


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """`full` makes the disk full while it exists."""

    api: Api
    data: Path
    full: Path

    def add(self, number: int) -> None:
        """Documents of this number, and waits until they are found."""
        http = self.api.http
        post(http, some_documents(number, SIZE))
        wait_until(lambda: count(http)["searchable"] == (number + 1) * SIZE, "searchable")
        wait_until(lambda: is_applied(http), "applied")
        assert search(http, some_documents(number, 1)[0]["text"]).count(f"{number}-0") == 1

    def snapshots(self) -> dict[str, str]:
        """Digest of every file of a finished snapshot, by its place."""
        folders = (self.data / "snapshots").glob(f"*/{Layout.PREFIX}*")
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(self.data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    full, data = tmp_path / "full", tmp_path / "data"
    command = [sys.executable, "-m", "tests.end_to_end.small_disk", str(full), "serve", "--port", "0"]
    environment = {
        "COGNATE_DATA_DIR": str(data),
        "COGNATE_SNAPSHOT_EVERY_S": "0.2",
        "COGNATE_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
    }
    api = Api("api", command, environment, tmp_path / "api.log", r"^Listening on (\S+)$")
    api.start()
    yield SmallDisk(api, data, full)
    api.end(signal.SIGKILL)


def refused(http: httpx.Client) -> float:
    """How many collections have a last snapshot that was refused, as the metrics tell."""
    lines = http.get("/metrics").raise_for_status().text.splitlines()
    return float(
        next(line.split()[1] for line in lines if line.startswith("cognate_index_snapshots_refused "))
    )


def test_a_full_disk_costs_a_snapshot_and_nothing_else(disk: SmallDisk) -> None:
    api = disk.api
    create(api.http)
    disk.add(0)
    wait_until(lambda: "snapshot_written" in api.output(), "the first snapshot")
    disk.full.touch()
    wait_until(lambda: len(list(disk.data.glob("snapshots/*/*"))) == 1, "none is being written or removed")
    before = disk.snapshots()
    disk.add(1)
    wait_until(lambda: refused(api.http) == 1, "the refusal is told")
    wait_until(lambda: api.output().count("snapshot_not_written") >= 2, "it is tried again")
    assert "No space left on device" in api.output()
    assert api.http.get("/health/ready").status_code == 200
    assert disk.snapshots() == before
    disk.add(2)  # it goes on

    api.kill()  # what was kept can be used: only the rest is read from the log
    api.start()
    wait_until(lambda: is_applied(api.http), "all is served again")
    assert "snapshot_rejected" not in api.output()
    assert search(api.http, some_documents(2, 1)[0]["text"]).count("2-0") == 1
    assert disk.snapshots() == before

    disk.full.unlink()
    wait_until(lambda: "snapshot_written" in api.output(), "the next snapshot, now that there is room")
    wait_until(lambda: refused(api.http) == 0, "that is told, too")
    assert disk.snapshots() != before
    assert not list(disk.data.glob(f"snapshots/*/{Layout.ASIDE}*"))
