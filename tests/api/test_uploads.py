"""The import route takes its form piece by piece: what is wrong is refused early and leaves nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest
from fsspec.implementations.local import LocalFileSystem
from starlette.testclient import TestClient

from api import uploads
from cognate.bootstrap import open_runtime
from cognate.server import make_app
from cognate.settings import Settings
from core.services import Services
from tests.fakes import FakeEncoder

BOUNDARY = "frontier"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
ROWS = b"id,text\n" + b"".join(b"%d,some text of row %d\n" % (i, i) for i in range(200))


def part(disposition: str, content: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


FILE = part('name="file"; filename="rows.csv"', ROWS)
END = f"--{BOUNDARY}--\r\n".encode()


def send(client: TestClient, news: str, body: bytes, headers: dict[str, str] = HEADERS) -> Any:
    return client.post(f"{news}/import", content=body, headers=headers)


def finished(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    while not job["finished_at"]:
        job = client.get(f"/v1/jobs/{job['id']}").json()
    return job


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("is_file_first", [True, False])
def test_fields_may_stand_before_and_after_the_file_however_the_body_is_cut(
    client: TestClient, news: str, size: int, is_file_first: bool
) -> None:
    field = part('name="metadata_fields"', b"") + part('name="id_field"', b"id")
    body = (FILE + field if is_file_first else field + FILE) + END
    pieces = iter([body[i : i + size] for i in range(0, len(body), size)])
    answer = client.post(f"{news}/import", content=pieces, headers=HEADERS)
    assert answer.status_code == 202, answer.text
    assert "id_field" not in answer.json()["job"]["fields"]["guessed"]
    assert finished(client, answer.json()["job"])["done"] == 200
    assert client.get(f"{news}/documents/7").json()["text"] == "some text of row 7"


def test_a_comma_too_many_names_no_column(client: TestClient, news: str) -> None:
    answer = send(client, news, FILE + part('name="metadata_fields"', b"id, ,") + END)
    assert answer.json()["job"]["fields"]["metadata_fields"] == ["id"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (FILE, 400, "last boundary"),
        (FILE[:200], 400, "last boundary"),
        (END, 422, "no file"),
        (part('name="text_field"', b"text") + END, 422, "no file"),
        (part('name="file"', b"text") + END, 422, "with a name"),
        (part("name=\"file\"; filename*=utf-8''x.csv", ROWS) + END, 422, "not filename*="),
        (part('name="file"; filename=""', ROWS) + END, 422, "no name"),
        (FILE + FILE + END, 422, "more than one file"),
        (FILE + part('name="id_feild"', b"id") + END, 422, "'id_feild'"),
        (FILE + part('name="id_field"', b"x" * 501) + END, 422, "500 characters"),
        (FILE + part('name="metadata_fields"', b"x" * (1 << 21)) + END, 413, "1,048,576"),
        (FILE + part('filename="x"', b"x") + END, 400, "no name"),
        (b"no boundary at all", 400, "multipart"),
    ],
)  # fmt: skip
def test_a_form_that_is_wrong_says_how_and_leaves_nothing(
    client: TestClient, news: str, services: Services, body: bytes, status: int, words: str
) -> None:
    answer = send(client, news, body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["detail"]
    assert services.uploads.list() == []
    assert client.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", ""])
def test_another_content_type_is_a_415_that_names_the_right_one(
    client: TestClient, news: str, kind: str
) -> None:
    answer = send(client, news, b"{}", {"Content-Type": kind})
    assert answer.status_code == 415
    assert "multipart/form-data" in answer.json()["detail"]


def test_a_form_without_its_boundary_is_a_415_that_says_so(client: TestClient, news: str) -> None:
    answer = send(client, news, b"{}", {"Content-Type": "multipart/form-data"})
    assert answer.status_code == 415
    assert "'multipart/form-data' without a boundary" in answer.json()["detail"]


def test_an_upload_to_a_collection_that_is_not_there_is_a_404(client: TestClient) -> None:
    assert send(client, "/v1/collections/none", FILE + END).status_code == 404


def test_more_than_the_limit_is_a_413_and_leaves_nothing(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "BLOCK_BYTES", 512)
    app = make_app(services, settings.model_copy(update={"max_upload_bytes": 3000}))
    with TestClient(app, "http://127.0.0.1") as client:
        client.put("/v1/collections/news", json={})
        pieces = iter([FILE[i : i + 500] for i in range(0, len(FILE), 500)])
        answer = client.post("/v1/collections/news/import", content=pieces, headers=HEADERS)
    assert answer.status_code == 413
    assert services.uploads.list() == []


def test_a_client_that_leaves_midway_leaves_nothing(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "BLOCK_BYTES", 512)
    app = make_app(services, settings)
    with TestClient(app, "http://127.0.0.1") as client:
        client.put("/v1/collections/news", json={})
    sent: list[dict[str, Any]] = []
    held: list[int] = []

    async def receive() -> dict[str, Any]:
        if not held:
            held.append(0)
            return {"type": "http.request", "body": FILE[:3000], "more_body": True}
        held.append(len(services.uploads.list()))
        return {"type": "http.disconnect"}

    async def remember(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/collections/news/import", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", HEADERS["Content-Type"].encode())],
    }  # fmt: skip
    asyncio.run(app(scope, receive, remember))
    assert held[1] == 1, "the beginning was being written when the client left"
    assert services.uploads.list() == []
    assert services.jobs.list(10) == []


class QuotaFileSystem(LocalFileSystem):  # type: ignore[misc]  # fsspec publishes no types
    """A folder on a disk that is full after 1 MiB."""

    protocol = "quota"
    room_bytes = 1 << 20

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        file = open(self._strip_protocol(path), mode)  # noqa: SIM115
        if "w" not in mode:
            return file
        room, write = self.room_bytes, file.write

        class Limited:
            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

            def write(self, block: bytes) -> int:
                nonlocal room
                room -= len(block)
                if room < 0:
                    write(block[:room])
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(block)

        return Limited()


@pytest.fixture
def full_disk(tmp_path: Path, encoder: FakeEncoder) -> Iterator[TestClient]:
    fsspec.register_implementation("quota", QuotaFileSystem, clobber=True)
    settings = Settings(data_dir=tmp_path / "data", upload_url=f"quota://{tmp_path}/full")
    with open_runtime(settings, encoder) as services:
        app = make_app(services, settings)
        with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
            yield client


def test_a_full_disk_answers_507_and_the_service_goes_on(full_disk: TestClient, tmp_path: Path) -> None:
    full_disk.put("/v1/collections/news", json={})
    news = "/v1/collections/news"
    too_much = part('name="file"; filename="rows.csv"', ROWS + b"1,more\n" * 300_000)
    for _ in range(2):
        answer = send(full_disk, news, too_much + END)
        assert (answer.status_code, answer.json()["title"]) == (507, "Insufficient Storage")
        assert "no room" in answer.json()["detail"]
        assert list((tmp_path / "full").iterdir()) == []
    assert full_disk.get("/v1/jobs").json()["jobs"] == []
    answer = send(full_disk, news, FILE + END)
    assert finished(full_disk, answer.json()["job"])["done"] == 200
    assert list((tmp_path / "full").iterdir()) == []


def test_an_upload_is_written_while_it_arrives(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a large file would wait in memory or in another temporary file."""
    monkeypatch.setattr(uploads, "BLOCK_BYTES", 1000)
    app = make_app(services, settings)
    seen: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(FILE), 500):
            yield FILE[start : start + 500]
            seen.append(len(services.uploads.list()))
        yield END

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            await http.put("/v1/collections/news", json={})
            return await http.post("/v1/collections/news/import", content=body(), headers=HEADERS)

    assert asyncio.run(post()).status_code == 202
    assert seen[0] == 1
