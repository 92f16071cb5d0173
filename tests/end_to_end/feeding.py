"""A client that posts until the server dies under it, and what must be there afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import httpx


class Feeder:
    """Posts batch after batch; remembers which were accepted, and which were not, or not heard of again."""

    def __init__(self, size: int, collection: str = "c", prefix: str = "") -> None:
        self.accepted: list[int] = []
        self.unanswered: list[int] = []
        self._size, self._prefix = size, prefix
        self._url = f"/v1/collections/{collection}/documents"
        self._next = 0

    def batch(self, number: int) -> list[dict[str, str]]:
        name = f"{self._prefix}{number}"
        return [
            {"id": f"{name}-{i}", "text": f"Document {name}-{i} tells of topic {i}."}
            for i in range(self._size)
        ]

    def send(self, http: httpx.Client) -> httpx.Response:
        """Posts the next batch, once. Raises TransportError."""
        number, self._next = self._next, self._next + 1
        self.unanswered.append(number)
        answer = http.post(self._url, json={"documents": self.batch(number)})
        if answer.status_code == 202:
            self.accepted.append(self.unanswered.pop())
        return answer

    def feed(self, http: httpx.Client) -> None:
        """Until the connection breaks, or is closed between two batches."""
        try:
            while not http.is_closed:
                answer = self.send(http)
                assert answer.status_code == 202, answer.text
        except httpx.TransportError:
            return
        except RuntimeError:  # what httpx raises when another thread closed the client meanwhile
            if not http.is_closed:
                raise

    def check(self, found: Mapping[str, str]) -> None:
        """`found`: text by id. What was answered is there, the rest is whole or absent."""
        assert self.accepted, "the test must have accepted something"
        for number in self.accepted:
            assert all(found[d["id"]] == d["text"] for d in self.batch(number))
        for number in self.unanswered:
            present = [d["id"] in found for d in self.batch(number)]
            assert all(present) or not any(present), f"batch {number} is there by halves"
        expected = len(self.accepted) + sum(self.batch(n)[0]["id"] in found for n in self.unanswered)
        assert sum(id_.startswith(self._prefix) for id_ in found) == expected * self._size
