"""Search over packages at full size: modes, filters of every selectivity, many clients; beside txtai.

python -m benchmarks.search CORPUS.jsonl.gz [--documents 60000] [--data-dir FOLDER] [--peer] [--json FILE]

The data folder is kept when it is named, so that a second run needs no ingestion. The peer gets the vectors
that the service stored, and embeds queries by sentence-transformers with a model of the same size; both
answer one HTTP-less caller (txtai) and HTTP clients (ours).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.service import running_server
from cognate.client import Client, in_batches
from cognate.load import BATCH, SearchRun, SearchTarget, queries_from, read_corpus, resident_mb

COLLECTION = "packages"
FIELD = "number"  # each document has another one, in an order that is not that of the corpus
STRIDE = 7919  # prime, so that it meets every number once
SELECTIVITIES = (0.0001, 0.01, 0.1, 0.5)


def numbered(documents: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The documents with a number of their own, 0 to n - 1, as metadata."""
    for i, document in enumerate(documents):
        yield {**document, "metadata": {FIELD: i * STRIDE % len(documents)}}


def ingest(client: Client, documents: Sequence[Mapping[str, Any]]) -> float:
    """Documents a second; nan when the collection was there already."""
    client.create_collection(COLLECTION)
    if client.collection(COLLECTION)["documents"]["searchable"] >= len(documents):
        return float("nan")
    started = time.perf_counter()
    jobs = [client.add(COLLECTION, batch)["id"] for batch in in_batches(numbered(documents), BATCH)]
    client.follow(jobs, lambda _: None)
    return len(documents) / (time.perf_counter() - started)


def runs(url: str, queries: Sequence[str], documents: int, seconds: float) -> Iterator[SearchRun]:
    """Unfiltered runs of each mode, then filtered ones, each after a warm-up."""

    def run(name: str, clients: int, **options: Any) -> SearchRun:
        bodies = [{"query": query, "k": 10, **options} for query in queries]
        target = SearchTarget(url, "", f"/v1/collections/{COLLECTION}/search", bodies)
        target.run("warm-up", clients, min(seconds, 2.0))
        return target.run(name, clients, seconds)

    for mode in ("dense", "lexical", "hybrid"):
        yield run(mode, 1, mode=mode)
    yield run("hybrid", 8, mode="hybrid")
    for mode in ("dense", "hybrid"):
        for share in SELECTIVITIES:
            limit = {"field": FIELD, "lt": round(share * documents)}
            yield run(f"{mode}, filter keeps {share:.2%}", 1, mode=mode, filter=limit)


def peer_runs(queries: Sequence[str], data_dir: Path, seconds: float) -> list[SearchRun]:
    from benchmarks.search_peer import measure

    return [measure(queries, data_dir / "cognate.db", COLLECTION, seconds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--documents", type=int, default=60_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--peer", action="store_true", help="also txtai, if it is installed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    documents = read_corpus(arguments.corpus, arguments.documents)
    queries = queries_from(documents)
    kept = nullcontext(arguments.data_dir) if arguments.data_dir else tempfile.TemporaryDirectory()
    with kept as folder:
        started = time.perf_counter()
        with running_server(Path(folder)) as url:
            start_s = time.perf_counter() - started
            rate = ingest(Client(url), documents)
            found = list(runs(url, queries, len(documents), arguments.seconds))
            resident = resident_mb(httpx.get(f"{url}/metrics", trust_env=False).text)
        peers = peer_runs(queries, Path(folder), arguments.seconds) if arguments.peer else []
    table = _table(found, peers)
    table.title = f"{len(documents):,} documents"
    table.caption = f"start {start_s:.1f} s, ingest {rate:.0f}/s, resident memory {resident:,.0f} MB"
    Console(file=sys.stdout, width=110).print(table)
    if arguments.json:
        everything: dict[str, Any] = {"start_s": start_s, "ingest_per_s": rate, "resident_mb": resident}
        everything |= {"runs": [asdict(run) for run in found], "peer": [asdict(run) for run in peers]}
        arguments.json.write_text(json.dumps(everything, indent=1))


def _table(found: Sequence[SearchRun], peers: Sequence[SearchRun]) -> Table:
    table = Table("search", "clients", "per second", "p50 ms", "p95 ms", "p99 ms", "errors")
    for run in [*found, *peers]:
        latencies = (f"{value:.1f}" for value in (run.p50_ms, run.p95_ms, run.p99_ms))
        table.add_row(run.name, str(run.clients), f"{run.rate_per_s:,.0f}", *latencies, str(run.errors))
    return table


if __name__ == "__main__":
    main()
