"""The HTTP client of `cognate copy`: everything in an instance, read page by page, and written again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cognate.classifier_client import ClassifierClient
from cognate.client import Json, patiently, quoted

PAGE = 500  # documents; the server ends a page of long ones earlier
EXAMPLES_PAGE = 1_000
JUDGEMENTS_PAGE = 1_000


class CopyClient(ClassifierClient):
    """Waits for a server that is away for a while: what is sent here may be sent twice.

    Raises RequestFailed with the server's reason, Unavailable when none answers.
    """

    def check(self) -> None:
        """Raises at once what is wrong with address or key, which would else be waited for."""
        super()._call("GET", "/v1/collections")

    def collections(self) -> list[Json]:
        return list(self._call("GET", "/v1/collections")["collections"])

    def add(self, collection: str, documents: Sequence[Json], wait: bool = False) -> Json:
        add = super().add
        return patiently(lambda: add(collection, documents, wait))

    def make_collection(self, name: str, body: Json) -> None:
        self._call("PUT", _path(name), json=body)

    def set_search(self, name: str, search: Json) -> None:
        self._call("PATCH", _path(name), json={"search": search})

    def documents(self, name: str) -> Iterator[list[Json]]:
        """Pages of documents in every state."""
        return self._pages(f"{_path(name)}/documents", "documents", PAGE)

    def delete_documents(self, name: str, ids: Sequence[str]) -> int:
        """How many were there."""
        answer = self._call("POST", f"{_path(name)}/documents/delete", json={"ids": list(ids)})
        return int(answer["deleted"])

    def judgements(self, name: str) -> list[Json]:
        pages = self._pages(f"{_path(name)}/judgements", "items", JUDGEMENTS_PAGE)
        return [item for page in pages for item in page]

    def put_judgements(self, name: str, items: Sequence[Json]) -> None:
        self._call("PUT", f"{_path(name)}/judgements", json={"judgements": list(items)})

    def examples(self, classifier: str) -> list[Json]:
        """`{text, labels}` of each."""
        path = f"/v1/classifiers/{quoted(classifier)}/examples"
        pages = self._pages(path, "examples", EXAMPLES_PAGE)
        return [{"text": one["text"], "labels": one["labels"]} for page in pages for one in page]

    def _pages(self, path: str, key: str, limit: int) -> Iterator[list[Json]]:
        after: Mapping[str, Any] = {}
        while True:
            answer = self._call("GET", path, params={"limit": limit, **after})
            yield list(answer[key])
            if answer["next"] is None:
                return
            after = {"after": answer["next"]}

    def _call(self, method: str, path: str, **options: Any) -> Json:
        call = super()._call
        return patiently(lambda: call(method, path, **options))


def _path(name: str) -> str:
    return f"/v1/collections/{quoted(name)}"
