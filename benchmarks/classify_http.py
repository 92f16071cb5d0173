"""Trained classifiers over HTTP: training, single texts from 8 clients, feedback, labelling a collection.

    python -m benchmarks.classify_http PACKAGES.jsonl.gz [--documents 60000] [--data-dir FOLDER]

Rows have a `title`, which is the text that is classified, a `section`, which is its label, and a `text`. The
data folder is kept when it is named, so that a second run needs no ingestion, or with `--parts` no training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.search import COLLECTION, ingest
from benchmarks.service import running_server
from cognate.classifier_client import ClassifierClient
from cognate.client import Client, Json
from cognate.load import SearchTarget, read_corpus, resident_mb
from evaluation.rows import read_jsonl

NAME = "sections"
FIELD = "section"
LEAST_EXAMPLES = 10  # of a section; rarer ones are left out
CORRECTIONS = 5
CLIENTS = 8
PARTS = ("train", "classify", "feedback", "label")

Row = tuple[str, str, str]


def labelled_titles(path: Path, limit: int) -> list[dict[str, str]]:
    """At most `limit` different titles, spread over the file, with their sections."""
    rows = [row for _, row in read_jsonl(path)]
    sections = {row["title"]: row["section"] for row in rows if row["title"] and row["section"]}
    names, counts = np.unique(list(sections.values()), return_counts=True)
    common = set(names[counts >= len(sections) * LEAST_EXAMPLES / limit])
    kept = [{"text": title, "label": label} for title, label in sections.items() if label in common]
    return kept[:: max(1, len(kept) // limit)][:limit]


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def train(client: ClassifierClient, examples: Sequence[Json], name: str = NAME) -> None:
    job = client.train(name, {"examples": list(examples)})
    _finish(client, job)


def feedback_s(client: ClassifierClient, examples: Sequence[Json]) -> list[float]:
    """Seconds from an example sent to a text classified by the version that knows it, a few times."""

    stamp = time.time_ns()  # an example that is stored already would change nothing

    def correct(i: int) -> float:
        started = time.perf_counter()
        added = client.add_examples(
            NAME, [{"text": f"a new package of {stamp}, number {i}", "label": examples[i]["label"]}]
        )
        served = client.classify_with(NAME, ["a package"])["version"]
        if served != added["version"]["version"]:
            raise SystemExit(f"version {served} serves, not {added['version']['version']}")
        return time.perf_counter() - started

    return [correct(i) for i in range(CORRECTIONS)]


def label_s(client: ClassifierClient) -> float:
    """Seconds until all documents are labelled and searches see it."""

    def label() -> None:
        _finish(client, client.label(COLLECTION, {"classifier": NAME, "write_to": FIELD}))
        while (index := client.collection(COLLECTION)["index"])["applied_seq"] < index["seq"]:
            time.sleep(0.05)

    took = timed(label)
    has_label = {"field": f"{FIELD}_confidence", "exists": True}
    if not client.search(COLLECTION, "package", 1, filter=has_label, facets=[FIELD])["facets"][FIELD][
        "values"
    ]:
        raise SystemExit("No document can be found by its label.")
    return took


def _finish(client: Client, job: Json) -> None:
    (ended,) = client.follow([job["id"]], lambda _: None)
    if ended["state"] != "succeeded":
        raise SystemExit(f"{ended['kind']} {ended['state']}: {ended['errors']}")


def trained(client: ClassifierClient, examples: Sequence[Json]) -> Iterator[Row]:
    labels = len({one["label"] for one in examples})
    took = timed(lambda: train(client, examples))
    yield f"train on {len(examples):,} examples of {labels} labels, with encoding", f"{took:.1f} s", ""
    took = timed(lambda: _finish(client, client.train(NAME, {})))
    yield "train again, embeddings stored", f"{took:.1f} s", "<= 20 s"


def classified(url: str, examples: Sequence[Json], seconds: float) -> Row:
    bodies = [{"texts": [one["text"]], "classifier": NAME} for one in examples[:500]]
    target = SearchTarget(url, "", "/v1/classify", bodies)
    target.run("warm-up", CLIENTS, 3.0)
    run = target.run("classify", CLIENTS, seconds)
    told = f"{run.rate_per_s:,.0f}/s, p50 {run.p50_ms:.1f} ms, p99 {run.p99_ms:.1f} ms, {run.errors} errors"
    return f"classify one text a call, {CLIENTS} clients", told, ">= 300/s"


def labelled(client: ClassifierClient, corpus: Path, limit: int) -> Iterator[Row]:
    documents = read_corpus(corpus, limit)
    rate = ingest(client, documents)
    told = "there already" if np.isnan(rate) else f"{rate:,.0f}/s"
    yield f"ingest {len(documents):,} documents", told, ""
    took = f"{label_s(client):.1f} s"
    yield f"label {len(documents):,} documents, until searches see it", took, "<= 60 s"


def rows(url: str, arguments: argparse.Namespace) -> Iterator[Row]:
    """What was measured, the number, and its bar."""
    client = ClassifierClient(url)
    examples = labelled_titles(arguments.corpus, arguments.examples)
    if "train" in arguments.parts:
        yield from trained(client, examples)
    if "classify" in arguments.parts:
        yield classified(url, examples, arguments.seconds)
    if "feedback" in arguments.parts:
        took = feedback_s(client, examples)
        told = f"median {np.median(took):.2f} s, longest {max(took):.2f} s"
        yield "add an example, until served", told, "<= 1 s"
    if "label" in arguments.parts:
        yield from labelled(client, arguments.corpus, arguments.documents)
    resident = resident_mb(httpx.get(f"{url}/metrics", trust_env=False).text)
    yield "resident memory of the server at the end", f"{resident:,.0f} MB", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=60_000)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    kept = nullcontext(arguments.data_dir) if arguments.data_dir else tempfile.TemporaryDirectory()
    table = Table("work", "measured", "bar")
    with kept as folder, running_server(Path(folder)) as url:
        for row in rows(url, arguments):
            print(*row, sep=" | ", file=sys.stderr, flush=True)
            table.add_row(*row)
    Console(file=sys.stdout, width=130).print(table)


if __name__ == "__main__":
    main()
