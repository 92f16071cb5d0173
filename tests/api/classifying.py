"""Examples that a bag of words can tell apart, and classifiers trained on them over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from cognate.bootstrap import open_runtime
from cognate.server import make_app
from cognate.settings import Settings
from tests.api.test_backups import finished as finished
from tests.fakes import FakeEncoder

WORDS = {
    "animals": "cat dog horse paw fur tail",
    "money": "bank stock loan cash price market",
    "food": "toast soup rice basil salt spoon",
}
CLASSIFIERS = "/v1/classifiers"
WEATHER = "rain wind storm cloud snow frost"


def sentences(label: str, count: int = 12) -> list[str]:
    """Different texts of a label, of four of its words each; "weather" is none of WORDS."""
    words = WORDS.get(label, WEATHER).split()
    return [
        f"{words[i % 6]} {words[(i + 1) % 6]} {words[(i // 6 + i + 3) % 6]} {words[(5 * i + 2) % 6]} {i}"
        for i in range(count)
    ]


def examples(count: int = 12) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for label in WORDS for text in sentences(label, count)]


def train(client: TestClient, name: str = "topics", **body: Any) -> dict[str, Any]:
    """The finished job of a training, on `examples()` unless the body says otherwise."""
    sent = body if "from_collection" in body else {"examples": examples()} | body
    job = finished(client, client.put(f"{CLASSIFIERS}/{name}", json=sent))
    assert job["state"] == "succeeded", job
    return job


def classify(
    client: TestClient, *texts: str, classifier: str = "topics", **more: Any
) -> list[dict[str, Any]]:
    answer = client.post("/v1/classify", json={"texts": list(texts), "classifier": classifier} | more)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


@contextmanager
def served_classifier(folder: Path) -> Iterator[TestClient]:
    """A server with the classifier "topics" and an empty collection "news", for tests that change nothing."""
    settings = Settings(data_dir=folder)
    with (
        open_runtime(settings, FakeEncoder()) as services,
        TestClient(make_app(services, settings), "http://127.0.0.1", raise_server_exceptions=False) as client,
    ):
        train(client)
        assert client.put("/v1/collections/news", json={}).status_code == 201
        yield client
