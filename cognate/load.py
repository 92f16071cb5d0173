"""Load generator: ingest rate, search rate and latency percentiles of a running server."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np
from rich.table import Table

from cognate.client import Client, in_batches
from core.errors import CognateError, InvalidInput
from evaluation.rows import read_jsonl

BATCH = 500
QUERY_WORDS = 8
QUERIES = 500
RECEIVED_BYTES = 256 * 1024
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SearchRun:
    """Latencies in milliseconds of one run with `clients` callers that never pause."""

    name: str
    clients: int
    searches: int
    errors: int
    rate_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Report:
    documents: int
    ingest_s: float
    ingest_rate_per_s: float
    runs: tuple[SearchRun, ...]
    resident_mb: float


def bench_server(url: str, api_key: str, corpus: Path, limit: int, seconds: float) -> Report:
    """Ingests `limit` documents of a JSONL corpus, then searches, idle and while ingesting.

    The collections that it makes for that are deleted at the end, also of a run that fails.
    """
    client = Client(url, api_key)
    documents = read_corpus(corpus, limit)
    stamp = f"bench-{time.time_ns():x}"
    with _deleted_at_the_end(client, stamp), _deleted_at_the_end(client, f"{stamp}-more") as more:
        client.create_collection(stamp)
        started = time.perf_counter()
        _ingest(client, stamp, documents)
        ingest_s = time.perf_counter() - started
        bodies = [{"query": query, "k": 10} for query in queries_from(documents)]
        target = SearchTarget(url, api_key, f"/v1/collections/{stamp}/search", bodies)
        target.run("warm-up", 1, min(seconds, 2.0))
        runs = [target.run("idle", clients, seconds) for clients in (1, 8)]
        with IngestInBackground(client, more, documents):
            runs += [target.run("while ingesting", clients, seconds) for clients in (1, 8)]
        memory_mb = _resident_mb(url, api_key)
    return Report(len(documents), ingest_s, len(documents) / ingest_s, tuple(runs), memory_mb)


@contextmanager
def _deleted_at_the_end(client: Client, collection: str) -> Iterator[str]:
    """The name of a collection that may be made in the block."""
    try:
        yield collection
    finally:
        with suppress(CognateError):  # it was not made, or the server is away, which the block tells
            client.delete_collection(collection)


def read_corpus(path: Path, limit: int) -> list[dict[str, Any]]:
    """The first `limit` documents. Raises InvalidInput when there is none and for a damaged file."""
    rows = [row for _, row in islice(read_jsonl(path), limit)]
    documents = [
        {"id": str(row.get("id", row.get("_id", i))), "title": row.get("title") or "", "text": row["text"]}
        for i, row in enumerate(rows)
        if str(row.get("text", "")).strip()
    ]
    if not documents:
        raise InvalidInput(f"{path} holds no documents with a text.")
    return documents


def queries_from(documents: Sequence[dict[str, Any]]) -> list[str]:
    """Short queries: the first words of texts spread over the corpus."""
    step = max(1, len(documents) // QUERIES)
    return [" ".join(document["text"].split()[:QUERY_WORDS]) for document in documents[::step]]


def _ingest(client: Client, collection: str, documents: Sequence[dict[str, Any]]) -> None:
    jobs = [client.add(collection, batch)["id"] for batch in in_batches(documents, BATCH)]
    client.follow(jobs, lambda _: None)


class IngestInBackground:
    """Feeds changed documents again and again until the block ends."""

    def __init__(self, client: Client, collection: str, documents: Sequence[dict[str, Any]]) -> None:
        self._client, self._collection, self._documents = client, collection, documents
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)

    def __enter__(self) -> None:
        self._client.create_collection(self._collection)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _feed(self) -> None:
        round_number = 0
        while not self._stop.is_set():
            round_number += 1
            for batch in in_batches(self._documents, BATCH):
                changed = [{**d, "text": f"{d['text']} ({round_number})"} for d in batch]
                job = self._client.add(self._collection, changed)
                while not self._stop.is_set() and self._client.job(job["id"])["finished_at"] is None:
                    self._stop.wait(0.1)
                if self._stop.is_set():
                    self._client.cancel(job["id"])
                    return


class SearchTarget:
    """One search route and the bodies to send there, in turn."""

    def __init__(self, url: str, api_key: str, path: str, bodies: Sequence[Mapping[str, Any]]) -> None:
        self._address = urlsplit(url)
        head = f"POST {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nContent-Type: application/json\r\n"
        if api_key:
            head += f"Authorization: Bearer {api_key}\r\n"
        sent = [json.dumps(body).encode() for body in bodies]
        self._requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in sent]

    def run(self, name: str, clients: int, seconds: float) -> SearchRun:
        """Searches with `clients` connections for `seconds`."""
        latencies: list[list[float]] = [[] for _ in range(clients)]
        errors = [0] * clients
        deadline = time.perf_counter() + seconds

        def work(number: int) -> None:
            errors[number] = self._search_until(deadline, number, latencies[number])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - started
        all_ms = np.array([latency for one in latencies for latency in one]) * 1000
        p50, p95, p99 = np.percentile(all_ms, [50, 95, 99]) if len(all_ms) else (np.nan,) * 3
        return SearchRun(
            name, clients, len(all_ms), sum(errors), len(all_ms) / took, float(p50), float(p95), float(p99)
        )

    def _search_until(self, deadline: float, offset: int, latencies: list[float]) -> int:
        """Fills `latencies` in seconds; how many searches did not answer 200."""
        errors, i = 0, offset * 61
        with _Connection(self._address) as connection:
            while (started := time.perf_counter()) < deadline:
                status = connection.ask(self._requests[i % len(self._requests)])
                if status == http.client.OK:
                    latencies.append(time.perf_counter() - started)
                else:
                    errors += 1
                i += 1
        return errors


class _Connection:
    """One kept-alive connection that reads no more of an answer than its status and length.

    The clients of a benchmark share its processor with the server; those of a service run elsewhere. With
    `http.client` they would take several times as long.
    """

    def __init__(self, address: SplitResult) -> None:
        host, is_safe = address.hostname or "", address.scheme == "https"
        port = address.port or (http.client.HTTPS_PORT if is_safe else http.client.HTTP_PORT)
        self._socket = socket.create_connection((host, port), timeout=60)
        if is_safe:
            self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> int:
        """The status of the answer, once all of it is there. Raises OSError when the connection breaks."""
        self._socket.sendall(request)
        answer = self._read()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._read()
        length = CONTENT_LENGTH.search(answer, 0, end + 2)
        if length is None:
            raise ConnectionError(f"The answer has no Content-Length: {answer[:end].decode('latin-1')}")
        missing = end + 4 + int(length[1]) - len(answer)
        while missing > 0:
            missing -= len(self._read())
        return int(answer[9:12])

    def _read(self) -> bytes:
        part = self._socket.recv(RECEIVED_BYTES)
        if not part:
            raise ConnectionError("The server closed the connection before its answer was complete.")
        return part


def _resident_mb(url: str, api_key: str) -> float:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {api_key}"} if api_key else {})
    metrics = connection.getresponse().read().decode()
    connection.close()
    return resident_mb(metrics)


def resident_mb(metrics: str) -> float:
    """Resident memory in MB of the process whose Prometheus metrics these are."""
    lines = metrics.splitlines()
    found = [line.split()[1] for line in lines if line.startswith("process_resident_memory_bytes")]
    return float(found[0]) / 1e6 if found else float("nan")


def report_table(report: Report) -> Table:
    """The report as one table."""
    table = Table(
        "work",
        "clients",
        "per second",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "errors",
        title=f"{report.documents:,} documents",
        caption=f"resident memory of the server: {report.resident_mb:,.0f} MB",
    )
    table.add_row("ingest to searchable", "1", f"{report.ingest_rate_per_s:,.0f}", "", "", "", "")
    for run in report.runs:
        latencies = (f"{value:.1f}" for value in (run.p50_ms, run.p95_ms, run.p99_ms))
        table.add_row(
            f"search, {run.name}", str(run.clients), f"{run.rate_per_s:,.0f}", *latencies, str(run.errors)
        )
    return table
