"""Request ids, API keys, binding."""

from __future__ import annotations

import hashlib

import pytest
from starlette.testclient import TestClient

from api.config import digest
from api.middleware import is_allowed
from cognate.server import bind, make_app
from cognate.settings import Settings
from core.errors import StartRefused
from core.services import Services


def test_a_request_id_is_given_or_taken_over(client: TestClient) -> None:
    assert len(client.get("/version").headers["x-request-id"]) == 32
    assert client.get("/version", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/version", headers={"X-Request-ID": "bad id"}).headers["x-request-id"] != "bad id"


def test_keys_guard_everything_but_health(services: Services) -> None:
    digest = hashlib.sha256(b"second").hexdigest()
    app = make_app(services, Settings(api_keys=f"first, sha256:{digest}"))  # type: ignore[arg-type]  # pydantic makes the secret
    with TestClient(app) as client:
        assert client.get("/health/live").status_code == 200
        refused = client.get("/v1/collections")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        for key, status in (("first", 200), ("second", 200), ("third", 401), (f"sha256:{digest}", 401)):
            answer = client.get("/v1/collections", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status, key
        assert client.get("/metrics").status_code == 401
        assert client.get("/v1/collections", headers={"Authorization": "Basic first"}).status_code == 401


def test_a_digest_is_not_a_key() -> None:
    hashes = [digest("secret")]
    assert is_allowed("Bearer secret", hashes)
    for prefix in ("", "sha256:", "sha256:sha256:"):
        assert not is_allowed(f"Bearer {prefix}{hashes[0].hex()}", hashes)
    assert not is_allowed("Bearer sha256:sha256:zz", hashes)
    assert not is_allowed(None, hashes)


def test_a_key_hash_that_is_none_is_refused(services: Services) -> None:
    for setting in ("sha256:xyz", "sha256:ab"):
        with pytest.raises(StartRefused, match="hex digest"):
            make_app(services, Settings(api_keys=setting))  # type: ignore[arg-type]  # pydantic makes the secret


def test_binding_beyond_loopback_without_keys_is_refused() -> None:
    with pytest.raises(StartRefused, match="COGNATE_API_KEYS"):
        bind(Settings(host="0.0.0.0", port=0))


def test_a_port_in_use_is_refused_with_what_to_do() -> None:
    with bind(Settings(port=0)) as listener, pytest.raises(StartRefused, match="--port"):
        bind(Settings(port=listener.getsockname()[1]))
