"""Uploads are there whole or not at all, in a folder, in memory and in an S3 server alike."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from core.errors import NotFound, StartRefused, StorageFull, Unavailable
from core.job_types import ImportFields
from core.ports.work import UploadStore
from indexer.imports import FileImportReader
from storage import uploads
from storage.uploads import FsspecUploadStore, local_uploads, open_uploads
from tests.storage.s3_server import BUCKET, CREDENTIALS, s3_server

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.integration)])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FsspecUploadStore:
    """An empty store of each kind."""
    if request.param == "folder":
        return local_uploads(tmp_path / "uploads")
    if request.param == "memory":
        return open_uploads(f"memory://{tmp_path.name}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["secret"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_url"))
    return open_uploads(f"s3://{BUCKET}/{tmp_path.name}")


def put(store: UploadStore, name: str, content: bytes, block: int = MIB) -> None:
    writer = store.create(name)
    for start in range(0, len(content), block):
        writer.write(content[start : start + block])
    writer.commit()


def names(store: UploadStore) -> list[str]:
    return sorted(upload.name for upload in store.list())


def test_what_is_committed_is_read_back_as_often_as_asked(store: FsspecUploadStore) -> None:
    content = os.urandom(20 * MIB + 7)  # more than one part of a multipart upload
    put(store, "a", content)
    assert names(store) == ["a"]
    for _ in range(2):
        with store.open("a") as file:
            assert file.read() == content
            file.seek(-9, io.SEEK_END)
            assert file.read(4) == content[-9:-5]
            assert file.tell() == len(content) - 5


def test_an_empty_upload_is_a_file_too(store: FsspecUploadStore) -> None:
    put(store, "a", b"")
    with store.open("a") as file:
        assert file.read() == b""


@pytest.mark.parametrize("size", [0, 5, 20 * MIB])
def test_what_is_not_committed_is_not_there_and_leaves_nothing(store: FsspecUploadStore, size: int) -> None:
    writer = store.create("a")
    writer.write(b"x" * size)
    assert not store.exists("a")
    with pytest.raises(NotFound):
        store.open("a")
    writer.discard()
    del writer
    assert names(store) == []


def test_files_are_deleted_and_a_second_time_is_no_error(store: FsspecUploadStore) -> None:
    assert names(store) == []
    put(store, "a", b"1")
    put(store, "b", b"2")
    assert store.exists("a")
    store.delete("a")
    store.delete("a")
    assert (store.exists("a"), names(store)) == (False, ["b"])


def test_the_list_tells_when_a_file_was_written(store: FsspecUploadStore) -> None:
    put(store, "a", b"1")
    age = datetime.now(UTC) - store.list()[0].modified
    assert timedelta(seconds=-5) < age < timedelta(minutes=2)


def files() -> dict[str, bytes]:
    rows = [{"id": str(i), "text": f"text of {i} " + "é" * 50} for i in range(3000)]
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), parquet, row_group_size=1000)
    csv = "id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows)
    return {
        "x.csv": csv.encode(),
        "x.csv.gz": gzip.compress(csv.encode()),
        "x.json": json.dumps(rows).encode(),
        "x.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "x.parquet": parquet.getvalue(),
        "x.parquet.gz": gzip.compress(parquet.getvalue()),
    }


@pytest.mark.parametrize("filename", files())
def test_every_format_is_read_from_the_store(store: FsspecUploadStore, filename: str) -> None:
    put(store, "a", files()[filename])
    reader = FileImportReader()
    plan = reader.plan(lambda: store.open("a"), filename, ImportFields())
    items: list[Any] = list(reader.items(lambda: store.open("a"), filename, plan, 10))
    assert [item["id"] for item in items] == [str(i) for i in range(10, 3000)]


class Failing(LocalFileSystem):  # type: ignore[misc]  # fsspec publishes no types
    """A disk that fails after so many bytes were written or read."""

    protocol = "failing"
    cachable = False

    def __init__(self, error: Exception, after_bytes: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.error, self.left = error, after_bytes

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        file = open(self._strip_protocol(path), mode)  # noqa: SIM115
        real_write, real_read = file.write, file.read

        def spend(size: int) -> None:
            self.left -= size
            if self.left < 0:
                raise self.error

        class Watched:
            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

            def write(self, block: bytes) -> int:
                spend(len(block))
                return real_write(block)

            def read(self, size: int = -1) -> bytes:
                block: bytes = real_read(size)
                spend(len(block))
                return block

        return Watched()


def failing_store(folder: Path, error: Exception, after_bytes: int) -> FsspecUploadStore:
    folder.mkdir(exist_ok=True)
    filesystem: AbstractFileSystem = Failing(error, after_bytes)
    return FsspecUploadStore(filesystem, str(folder))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such_and_nothing_is_kept(tmp_path: Path, number: int) -> None:
    store = failing_store(tmp_path / "u", OSError(number, os.strerror(number)), 100)
    writer = store.create("a")
    writer.write(b"x" * 90)
    with pytest.raises(StorageFull, match="no room"):
        writer.write(b"x" * 90)
    writer.discard()
    assert list((tmp_path / "u").iterdir()) == []


def test_a_full_disk_at_the_last_moment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local_uploads(tmp_path)
    writer = store.create("a")
    writer.write(b"x")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageFull):
        writer.commit()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_fails_while_it_is_read_is_no_damaged_file(tmp_path: Path) -> None:
    content = gzip.compress(os.urandom(6 * MIB))
    put(local_uploads(tmp_path), "a", content)
    store = failing_store(tmp_path, RuntimeError("connection lost"), 3 * MIB)
    plan = FileImportReader().plan(lambda: io.BytesIO(b"text\nx\n"), "x.csv", ImportFields())
    with pytest.raises(Unavailable):
        list(FileImportReader().items(lambda: store.open("a"), "x.csv.gz", plan, 0))


def test_an_outage_is_not_taken_for_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = local_uploads(tmp_path)

    def fail(*arguments: object, **options: object) -> None:
        raise PermissionError("credentials expired")

    monkeypatch.setattr(LocalFileSystem, "info", fail)
    with pytest.raises(Unavailable):
        store.exists("a")
    with pytest.raises(Unavailable):
        store.list()


@pytest.mark.integration
def test_a_discarded_upload_leaves_no_parts_in_s3(s3_url: str) -> None:
    filesystem = s3fs.S3FileSystem(**CREDENTIALS, endpoint_url=s3_url)
    writer = FsspecUploadStore(filesystem, f"{BUCKET}/parts").create("a")
    writer.write(b"x" * 20 * MIB)
    client = {"Bucket": BUCKET, "Prefix": "parts/"}
    assert len(filesystem.call_s3("list_multipart_uploads", **client)["Uploads"]) == 1
    writer.discard()
    assert not filesystem.call_s3("list_multipart_uploads", **client).get("Uploads")


@pytest.mark.integration
def test_an_s3_server_that_is_gone_is_an_outage(tmp_path: Path) -> None:
    with s3_server(tmp_path / "log") as url:
        options = {"connect_timeout": 1, "retries": {"max_attempts": 1}}
        filesystem = s3fs.S3FileSystem(**CREDENTIALS, endpoint_url=url, config_kwargs=options)
        filesystem.retries = 1
        store = FsspecUploadStore(filesystem, f"{BUCKET}/gone")
        put(store, "a", b"1")
        writer = store.create("b")
        writer.write(b"2")
    with pytest.raises(Unavailable):
        store.exists("a")
    with pytest.raises(Unavailable):
        store.open("a")
    with pytest.raises(Unavailable):
        writer.commit()
    writer.discard()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x", "COGNATE_UPLOAD_URL"),
        ("gs://bucket/x", "not installed"),
        ("file:///proc/none/uploads", "cannot be made"),
        ("s3:/bucket/prefix", "neither a whole path nor a URL"),
        ("s3:bucket", "neither a whole path nor a URL"),
        ("s3//bucket/prefix", "neither a whole path nor a URL"),
        ("file://mnt/uploads", "neither a whole path nor a URL"),
        ("file:uploads", "neither a whole path nor a URL"),
        ("uploads", "neither a whole path nor a URL"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_the_start(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartRefused, match=words):
        open_uploads(url)
    assert list(tmp_path.iterdir()) == []


def test_a_password_in_the_url_is_not_repeated() -> None:
    with pytest.raises(StartRefused) as refused:
        open_uploads("nonsense://user:hunter2@host/x")
    assert "hunter2" not in str(refused.value)


def test_a_local_url_is_a_folder_that_is_made(tmp_path: Path) -> None:
    put(open_uploads(f"file://{tmp_path}/deep/er"), "a", b"1")
    assert (tmp_path / "deep/er/a").read_bytes() == b"1"
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["a"]


@pytest.mark.parametrize("prefix", ["", "file:", "file://", "local://"])
def test_a_folder_may_be_named_by_its_whole_path(tmp_path: Path, prefix: str) -> None:
    put(open_uploads(f"{prefix}{tmp_path}/a:b"), "a", b"1")
    assert (tmp_path / "a:b/a").read_bytes() == b"1"


def test_an_upload_is_on_disk_under_its_name_before_commit_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, list[str]]] = []

    def fsync(descriptor: int) -> None:
        steps.append((os.fstat(descriptor).st_ino, sorted(path.name for path in tmp_path.iterdir())))

    monkeypatch.setattr(os, "fsync", fsync)
    put(local_uploads(tmp_path), "a", b"1")
    assert steps == [
        ((tmp_path / "a").stat().st_ino, ["a" + uploads.ASIDE]),
        (tmp_path.stat().st_ino, ["a"]),
    ]


def test_memory_is_shared_by_all_who_open_it() -> None:
    put(open_uploads("memory://shared"), "a", b"1")
    assert open_uploads("memory://shared").exists("a")
    MemoryFileSystem().rm("/shared", recursive=True)
