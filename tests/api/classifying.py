"""Examples that a bag of words can tell apart, and classifiers trained on them over HTTP."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from tests.api.test_backups import finished as finished

WORDS = {
    "animals": "cat dog horse paw fur tail",
    "money": "bank stock loan cash price market",
    "food": "bread soup rice cheese salt spoon",
}
CLASSIFIERS = "/v1/classifiers"


def sentences(label: str, count: int = 12) -> list[str]:
    """Different texts of a label, of three of its words each."""
    words = WORDS[label].split()
    return [
        f"{words[i % 6]} {words[(i * 5 + 1) % 6]} {words[(i // 6 + 2) % 6]} number {i}" for i in range(count)
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
