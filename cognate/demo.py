"""The demo: real text in, sample questions answered, server left running."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from rich.console import Console
from rich.table import Table

from api.config import HASHED
from cognate.bootstrap import open_runtime
from cognate.client import Client, in_batches
from cognate.corpus import stdlib_docstrings
from cognate.progress import follow_jobs, summarise
from cognate.server import ServerThread, bind, make_app, url_of
from cognate.settings import Settings
from core.errors import StartRefused

COLLECTION = "python-docs"
BATCH = 1000
QUESTIONS = (
    "how do I run a command and capture its output",
    "remove a directory tree and everything in it",
    "keep only the most recent results of expensive calls",
    "convert a time zone aware timestamp to local time",
    "send an e-mail with an attachment",
)
LABELS = ("networking", "file handling", "text processing", "mathematics", "concurrency")
TEXTS = (
    "Accept a connection and return a new socket and the address of the client.",
    "Block until all items in the queue have been gotten and processed.",
)


def run_demo(settings: Settings, console: Console, stay: bool) -> None:
    """Ingests the standard library's docstrings, asks, classifies; serves until Ctrl-C if `stay`."""
    key = _plain_key(settings)
    listener = bind(settings)
    started = time.perf_counter()
    with ExitStack() as stack:
        with console.status("Loading the model and the index…"):
            services = stack.enter_context(open_runtime(settings))
        server = ServerThread(make_app(services, settings), listener)
        server.start()
        try:
            url = url_of(listener)
            console.print(f"Listening on {url} after {time.perf_counter() - started:.1f} s.", highlight=False)
            _tour(Client(url, key), console)
            console.print(f"\nThe server runs on {url} (documentation at {url}/docs). Ctrl-C stops it.")
            if stay:
                threading.Event().wait()
        except KeyboardInterrupt:
            console.print("\nStopping.")
        finally:
            server.stop()


def _plain_key(settings: Settings) -> str:
    """A key that the demo can send to its own server, empty where none is needed. Raises StartRefused."""
    plain = [key for key in settings.keys if not key.startswith(HASHED)]
    if settings.keys and not plain:
        raise StartRefused(
            "The demo asks its own server, and COGNATE_API_KEYS holds keys as hashes alone; add a plain one,"
            " or leave it out."
        )
    return plain[0] if plain else ""


def _tour(client: Client, console: Console) -> None:
    ingest_stdlib(client, console)
    for question in QUESTIONS:
        _ask(client, console, question)
    _classify(client, console)


def ingest_stdlib(client: Client, console: Console) -> None:
    """Sends every docstring; what is stored already costs no embedding."""
    client.create_collection(COLLECTION)
    jobs = [client.add(COLLECTION, batch)["id"] for batch in in_batches(stdlib_docstrings(), BATCH)]
    summarise(follow_jobs(client, jobs, console, "Docstrings of the Python standard library"), console)


def _ask(client: Client, console: Console, question: str) -> None:
    answer = client.search(COLLECTION, question, k=3)
    table = Table(title=f"{question}  ({answer['took_ms']['total']:.1f} ms)", title_justify="left", width=100)
    for column, width in (("score", 6), ("document", 36), ("passage", 50)):
        table.add_column(column, width=width, no_wrap=True)
    for hit in answer["hits"]:
        table.add_row(f"{hit['score']:.3f}", hit["title"], hit["passage"]["text"].strip().splitlines()[0])
    console.print()
    console.print(table)


def _classify(client: Client, console: Console) -> None:
    results = client.classify(TEXTS, LABELS)["results"]
    console.print("\nZero-shot classification:")
    for text, result in zip(TEXTS, results, strict=True):
        console.print(f"  {result['label']} ({result['score']:.2f}): {text}", highlight=False)
