"""Names in paths of the client are names, whatever they look like."""

from __future__ import annotations

import httpx
import pytest

from cognate.client import Client, RequestFailed


@pytest.mark.parametrize("name", ["../collections/c", "a/b", "..", "a?b", "a#b", "ä b", "a%2fb"])
def test_a_name_is_one_part_of_the_path(name: str) -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(404, json={"detail": "none"})

    client = Client("http://server")
    client._http = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    with pytest.raises(RequestFailed):
        client.delete_backup(name)
    (path,) = asked
    assert path.startswith(b"/v1/admin/backups/")
    assert path.count(b"/") == 4
    assert b"?" not in path
