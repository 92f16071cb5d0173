"""A whole service with a fake encoder behind an in-process client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cognate.bootstrap import open_runtime
from cognate.server import make_app
from cognate.settings import Settings
from core.services import Services
from tests.fakes import FakeEncoder, FakeGenerator, FakeGeneratorSource


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder(refuse=lambda text: "poison" in text)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", max_body_bytes=12 * 1024**2, wait_limit_s=20)


@pytest.fixture
def generator() -> FakeGenerator:
    return FakeGenerator()


@pytest.fixture
def generator_source(generator: FakeGenerator) -> FakeGeneratorSource:
    return FakeGeneratorSource(generator)


@pytest.fixture
def services(
    settings: Settings, encoder: FakeEncoder, generator_source: FakeGeneratorSource
) -> Iterator[Services]:
    with open_runtime(settings, encoder, generator_source) as running:
        yield running


@pytest.fixture
def client(services: Services, settings: Settings) -> Iterator[TestClient]:
    app = make_app(services, settings)
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as running:
        yield running


@pytest.fixture
def news(client: TestClient) -> str:
    """The path of an empty collection."""
    assert client.put("/v1/collections/news", json={}).status_code == 201
    return "/v1/collections/news"
