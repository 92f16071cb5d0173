"""A running server as the system that is measured, spoken to over its HTTP contract."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from core.errors import CognateError, InvalidInput, Unavailable
from core.label_types import Classification, Label
from core.types import Float32
from evaluation.datasets import CorpusDocument, Query
from evaluation.systems import Progress

DOCUMENTS_A_CALL = 500
SEARCHES_A_CALL = 16
TEXTS_A_CALL = 1024
BUSY = (429, 503)
OF_INPUT = (400, 413, 422)
SHOWN = 60  # characters of a text that is refused
MAX_TRIES = 60
POLL_S = 0.2
FINAL_STATES = ("succeeded", "partial", "failed", "cancelled")
Json = dict[str, Any]


class Answer(Protocol):
    """What is used of an HTTP client's response."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    def json(self) -> Any: ...


class ServerSystem:
    """Documents go into a temporary collection, which is deleted at the end, whatever happens.

    `send(method, path, body)` makes one request. `mode` is the search mode; None leaves it to the server.
    The server cuts long documents into passages, so its figures may differ from those of its model alone.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[str, str, Json | None], Answer],
        mode: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.scorer = ServerScorer(self._call)
        self._send = send
        self.settings = {"mode": mode or "the server's default"}
        self._mode = mode
        self._sleep = sleep

    def rank(
        self, corpus: Sequence[CorpusDocument], queries: Sequence[Query], depth: int, progress: Progress
    ) -> tuple[list[list[str]], tuple[str, ...]]:
        refused: list[str] = []
        with self._temporary_collection() as path:
            seq, notes = self._ingest(path, corpus, progress)
            rankings: list[list[str]] = []
            for part in _parts(queries, SEARCHES_A_CALL):
                rankings += self._answers(path, part, depth, seq, refused)
                progress("queries answered", len(rankings), len(queries))
        if refused:
            notes += (f"{len(refused):,} queries were refused and count as 0, first: {refused[0]}",)
        return rankings, notes

    def _answers(
        self, path: str, queries: Sequence[Query], depth: int, seq: int | None, refused: list[str]
    ) -> list[list[str]]:
        """A ranking a query; none for what is refused alone, whose reasons `refused` is given.

        Raises ServerRefused, naming the first query, if all are: it is not for what they say.
        """
        try:
            return self._search(path, queries, depth, seq)
        except ServerRefused as error:
            if not error.is_of_input:
                raise
        rankings, reasons = [], []
        for query in queries:
            try:
                rankings += self._search(path, [query], depth, seq)
            except ServerRefused as error:
                reasons.append(f"query {query.id!r}: {error}")
                rankings.append([])
        if len(reasons) == len(queries):
            raise ServerRefused(reasons[0])
        refused += reasons
        return rankings

    def embed(self, texts: Sequence[str], progress: Progress) -> Float32:
        """By `/v1/embeddings` of the server's first model. Raises InvalidInput where it has none."""
        model = self._model()
        blocks: list[Float32] = []
        for start, part in zip(range(0, len(texts), TEXTS_A_CALL), _parts(texts, TEXTS_A_CALL), strict=True):
            answer = _named(part, lambda some: self._embeddings(model, some))
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            blocks.append(np.stack([_vector(row["embedding"]) for row in rows]))
            progress("texts encoded", start + len(part), len(texts))
        vectors = np.concatenate(blocks)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def _embeddings(self, model: str, texts: list[str]) -> Json:
        body = {"model": model, "input": texts, "encoding_format": "base64"}
        return self._call("POST", "/v1/embeddings", body)

    def _model(self) -> str:
        answer = self._patiently("GET", "/v1/models")
        if answer.status_code == 404:
            raise InvalidInput(
                f"{self.name} has no /v1/models and /v1/embeddings, which similarity and classification"
                " data need; measure its model folder instead."
            )
        return str(self._checked(answer)["data"][0]["id"])

    @contextmanager
    def _temporary_collection(self) -> Iterator[str]:
        path = f"/v1/collections/eval-{uuid.uuid4().hex}"
        self._call("PUT", path, {"description": "Temporary: an evaluation is running."})
        try:
            yield path
        finally:
            self._call("DELETE", path)

    def _ingest(
        self, path: str, corpus: Sequence[CorpusDocument], progress: Progress
    ) -> tuple[int | None, tuple[str, ...]]:
        """Waits until all is searchable or failed; the newest seq, and a note on those that failed."""
        jobs: list[Json] = []
        for part in _parts(corpus, DOCUMENTS_A_CALL):
            documents = [{"id": d.id, "title": d.title, "text": d.text} for d in part]
            jobs.append(self._call("POST", f"{path}/documents", {"documents": documents})["job"])
        while True:
            jobs = [
                j if j["state"] in FINAL_STATES else self._call("GET", f"/v1/jobs/{j['id']}") for j in jobs
            ]
            progress("documents ingested", sum(job["done"] + job["failed"] for job in jobs), len(corpus))
            if all(job["state"] in FINAL_STATES for job in jobs):
                break
            self._sleep(POLL_S)
        errors = [error for job in jobs for error in job["errors"]]
        failed = sum(job["failed"] for job in jobs)
        seqs = [job["seq"] for job in jobs if job.get("seq") is not None]
        reason = f", first: {errors[0]['reason']}" if errors else ""
        return max(seqs, default=None), ((f"{failed:,} documents failed{reason}",) if failed else ())

    def _search(self, path: str, queries: Sequence[Query], depth: int, seq: int | None) -> list[list[str]]:
        options: Json = {"k": depth, "highlight": False}
        options |= {} if self._mode is None else {"mode": self._mode}
        options |= {} if seq is None else {"min_seq": seq}
        searches = [{"query": query.text, **options} for query in queries]
        results = self._call("POST", f"{path}/search/batch", {"searches": searches})["results"]
        return [[hit["id"] for hit in result["hits"]] for result in results]

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        return self._checked(self._patiently(method, path, body))

    def _patiently(self, method: str, path: str, body: Json | None = None) -> Answer:
        """The answer, asked for again while the server says that it is busy."""
        for _ in range(MAX_TRIES):
            answer = self._send(method, path, body)
            if answer.status_code not in BUSY:
                return answer
            self._sleep(float(answer.headers.get("Retry-After", "1")))
        raise Unavailable(f"{self.name} was still busy after {MAX_TRIES} tries of {method} {path}.")

    def _checked(self, answer: Answer) -> Json:
        if 200 <= answer.status_code < 300:
            return dict(answer.json()) if answer.content else {}
        raise ServerRefused(
            f"{self.name} answered {answer.status_code}: {_reason(answer) or 'without a reason'}",
            answer.status_code in OF_INPUT,
        )


class ServerRefused(CognateError):
    """The server did not do what the evaluation needs; the message holds its reason.

    `is_of_input` where it was for what was sent, of which other parts might be taken.
    """

    def __init__(self, message: str, is_of_input: bool = False) -> None:
        super().__init__(message)
        self.is_of_input = is_of_input


class ServerScorer:
    """Implements core.ports.LabelScorer by `/v1/classify`."""

    def __init__(self, call: Callable[[str, str, Json | None], Json]) -> None:
        self._call = call

    def classify(self, texts: Sequence[str], labels: Sequence[Label]) -> list[Classification]:
        names = [label.name for label in labels]
        results: list[Classification] = []
        for part in _parts(texts, TEXTS_A_CALL):
            answer = _named(
                part, lambda some: self._call("POST", "/v1/classify", {"texts": some, "labels": names})
            )
            results += [Classification(r["label"], r["score"], r["scores"]) for r in answer["results"]]
        return results


def _named(texts: Sequence[str], ask: Callable[[list[str]], Json]) -> Json:
    """What is answered to these texts. Raises ServerRefused naming the first of them that is refused."""
    try:
        return ask(list(texts))
    except ServerRefused as error:
        if not error.is_of_input:
            raise
        if len(texts) == 1:
            told = texts[0] if len(texts[0]) <= SHOWN else f"{texts[0][:SHOWN]}…"
            raise ServerRefused(
                f"text {told!r}: {error} Correct it or leave it out, or measure the server's model folder,"
                " which reads the beginning of longer texts."
            ) from None
        reason = error
    for half in (texts[: len(texts) // 2], texts[len(texts) // 2 :]):
        _named(half, ask)
    raise reason


def _reason(answer: Answer) -> str | None:
    """As our problems tell it, or the OpenAI dialect."""
    if "json" not in answer.headers.get("content-type", ""):
        return None
    body = answer.json()
    found = body.get("detail") or (body.get("error") or {}).get("message")
    return str(found) if found else None


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _vector(embedding: str | list[float]) -> Float32:
    """Base64 of little-endian float32, or plain numbers."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4").astype(np.float32)
    return np.array(embedding, np.float32)
