"""Creating collections while others delete them."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from core.services import Services
from core.types import CollectionSettings


@pytest.mark.parametrize(("exists", "status"), [(False, 201), (True, 200)])
@pytest.mark.parametrize("is_made_again", [False, True])
def test_creating_answers_with_what_it_made_or_found_though_another_deletes_it_meanwhile(
    client: TestClient,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    exists: bool,
    status: int,
    is_made_again: bool,
) -> None:
    store = services.collections.store
    create = store.create

    def create_then_delete(name: str, *rest: Any) -> Any:
        made = create(name, *rest)
        store.delete(name)
        if is_made_again:
            create(name, "another", services.collections.encoder.info, CollectionSettings(language="tr"))
        return made

    body = {"description": "mine", "language": "de"}
    if exists:
        client.put("/v1/collections/news", json=body)
    monkeypatch.setattr(store, "create", create_then_delete)
    answer = client.put("/v1/collections/news", json=body)
    assert answer.status_code == status
    assert (answer.json()["description"], answer.json()["language"]) == ("mine", "de")
