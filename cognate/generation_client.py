"""The routes of generation, for the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from cognate.client import Client, Json, checked


class GenerationClient(Client):
    """Raises RequestFailed with the server's reason, Unavailable when none answers."""

    def rewrite(self, texts: Sequence[str], task: str, n: int) -> Json:
        return self._call("POST", "/v1/rewrite", json={"texts": list(texts), "task": task, "n": n})

    def explain(self, body: Json) -> Json:
        return self._call("POST", "/v1/explain", json=body)

    def stream_rewrite(self, text: str, task: str) -> Iterator[tuple[str, Json]]:
        """Events of one rewrite as they come: their names and what they tell."""
        body = {"texts": [text], "task": task, "stream": True}
        try:
            with self._http.stream("POST", "/v1/rewrite", json=body) as answer:
                if not answer.is_success:
                    answer.read()
                    checked(answer)
                yield from _events(answer)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None


def _events(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
