"""Clients of the commands that speak to a server in the same process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from cognate.bootstrap import open_runtime
from cognate.client import Client
from cognate.server import make_app
from cognate.settings import Settings
from tests.fakes import FakeEncoder


def bring_near(
    monkeypatch: pytest.MonkeyPatch, http: TestClient, client: type[Client], *modules: ModuleType
) -> None:
    """Has the modules' clients of this class speak to `http`, whatever their address is."""

    class Near(client):  # type: ignore[valid-type, misc]  # a class that is given
        def __init__(self, url: str, api_key: str) -> None:
            super().__init__(url, api_key)
            self._http.close()
            self._http: Any = http

    for module in modules:
        monkeypatch.setattr(module, client.__name__, Near)


@contextmanager
def serving(folder: Path, *more: Any, **settings: Any) -> Iterator[TestClient]:
    """A server on the fake encoder, its data below `folder`; `more` is for `open_runtime`."""
    chosen = Settings(data_dir=folder / "data", **settings)
    with (
        open_runtime(chosen, FakeEncoder(), *more) as services,
        TestClient(make_app(services, chosen), "http://127.0.0.1") as http,
    ):
        yield http
