"""The HTTP client of trained classifiers, for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cognate.client import Client, Json, checked, quoted


class ClassifierClient(Client):
    """Raises RequestFailed with the server's reason, Unavailable when none answers."""

    def classify_with(
        self, classifier: str, texts: Sequence[str], evidence: bool = False, version: int | None = None
    ) -> Json:
        body = {"classifier": classifier, "texts": list(texts), "evidence": evidence, "version": version}
        return self._call("POST", "/v1/classify", json=body)

    def train(self, name: str, body: Mapping[str, Any]) -> Json:
        """The job that trains it."""
        return dict(self._call("PUT", _path(name), json=dict(body))["job"])

    def classifiers(self) -> list[Json]:
        return list(self._call("GET", "/v1/classifiers")["classifiers"])

    def classifier(self, name: str) -> Json:
        return self._call("GET", _path(name))

    def delete_classifier(self, name: str) -> None:
        self._call("DELETE", _path(name))

    def add_examples(self, name: str, examples: Sequence[Json], remove: Sequence[str] = ()) -> Json:
        body = {"examples": list(examples), "remove": list(remove)}
        return self._call("POST", f"{_path(name)}/examples", json=body)

    def versions(self, name: str) -> list[Json]:
        return list(self._call("GET", f"{_path(name)}/versions")["versions"])

    def activate(self, name: str, version: int) -> Json:
        return self._call("POST", f"{_path(name)}/versions/{version}/activate")

    def compare(self, name: str, first: int, second: int) -> Json:
        asked = {"first": first, "second": second}
        return self._call("GET", f"{_path(name)}/versions/compare", params=asked)

    def report(self, name: str, version: int | None) -> Json:
        return self._call("GET", f"{_path(name)}/report", params=_given(version))

    def plot(self, name: str, plot: str, version: int | None) -> bytes:
        """A PNG image."""
        answer = self._send("GET", f"{_path(name)}/report/{quoted(plot)}.png", params=_given(version))
        if not answer.is_success:
            checked(answer)
        return answer.content

    def suggest(self, name: str, collection: str, k: int) -> list[Json]:
        asked = {"collection": collection, "k": k}
        return list(self._call("GET", f"{_path(name)}/suggest", params=asked)["suggestions"])

    def label(self, collection: str, body: Json) -> Json:
        """The job that labels the collection."""
        return dict(self._call("POST", f"/v1/collections/{quoted(collection)}/classify", json=body)["job"])

    def rules(self, collection: str) -> list[Json]:
        """Which fields of the collection's documents get a label on arrival."""
        return list(self._call("GET", f"/v1/collections/{quoted(collection)}/classify")["rules"])

    def remove_rule(self, collection: str, field: str) -> None:
        self._call("DELETE", f"/v1/collections/{quoted(collection)}/classify/{quoted(field)}")

    def remove_labels(self, collection: str, field: str) -> Json:
        """The job that takes the labels off; the rule ends too."""
        path = f"/v1/collections/{quoted(collection)}/classify/{quoted(field)}"
        return dict(self._call("DELETE", path, params={"labels": "true"})["job"])


def _path(name: str) -> str:
    return f"/v1/classifiers/{quoted(name)}"


def _given(version: int | None) -> dict[str, int]:
    return {} if version is None else {"version": version}
