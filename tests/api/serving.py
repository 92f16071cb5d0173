"""The API over given services with settings of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.testclient import TestClient

from cognate.server import make_app
from cognate.settings import Settings
from core.services import Services


@contextmanager
def served(services: Services, **settings: Any) -> Iterator[TestClient]:
    app = make_app(services, Settings(port=0, **settings))
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
