"""Measures generation on a CPU as a service does it; prints one table, and searches beside it.

    python -m benchmarks.generate [--generator FOLDER] [--precision int8] [--threads 1] [--search-s 10]
    python -m benchmarks.generate --device cuda [--peer FOLDER]

Without a folder the shipped generator is measured or, where there is none, one of its shape with random
weights. Tokens are those of the texts that are returned, though a beam of 4 computes four times as many.
Searches are hybrid, in process, by one caller, over docstrings of the standard library.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.encode import stdlib_docstrings
from benchmarks.random_generator import write_in_own_process
from cognate.bootstrap import open_runtime
from cognate.settings import Settings
from core.generation_types import GenerationOptions
from core.search_request import SearchRequest
from core.services import Services
from core.types import CollectionSettings
from encoder.generator import GeneratorService, load_generator, shipped_generator
from encoder.service import EncoderService, load_encoder

ROUNDS = 5
COLLECTION = "docstrings"
GREEDY = GenerationOptions(beams=1, max_new_tokens=64)
CASES = (
    ("greedy, 1 source", 1, GREEDY),
    ("4 beams, 1 source", 1, replace(GREEDY, beams=4)),
    ("sampling, 1 source", 1, replace(GREEDY, temperature=0.8, top_p=0.95)),
    ("greedy, 8 sources", 8, GREEDY),
    ("4 beams, 8 sources", 8, replace(GREEDY, beams=4)),
    ("greedy, 32 sources", 32, GREEDY),
)


@dataclass(frozen=True, slots=True)
class Case:
    """Medians of `ROUNDS` rounds."""

    name: str
    tokens_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Searches:
    name: str
    count: int
    p50_ms: float
    p99_ms: float


def measure_cases(generator: GeneratorService, sources: Sequence[str]) -> Iterator[Case]:
    """From texts to texts, the encoder and all else included."""
    task = generator.info.tasks[0].task
    for name, count, options in CASES:
        generator.generate(task, sources[:count], options)
        tokens, seconds = [], []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            found = generator.generate(task, sources[:count], options)
            seconds.append(time.perf_counter() - started)
            tokens.append(sum(text.tokens for texts in found for text in texts))
        rates = np.array(tokens) / np.array(seconds)
        yield Case(name, float(np.median(rates)), float(np.median(seconds)))


def first_piece_ms(generator: GeneratorService, sources: Sequence[str]) -> float:
    """Median time from the call to the first piece of a stream."""
    task = generator.info.tasks[0].task
    times = []
    for source in sources:
        started = time.perf_counter()
        next(generator.stream(task, source, replace(GREEDY, max_new_tokens=4)))
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


@contextmanager
def generating(
    generator: GeneratorService, sources: Sequence[str], options: GenerationOptions
) -> Iterator[None]:
    """Generates again and again, on a thread, until the block ends."""
    stop = threading.Event()
    task = generator.info.tasks[0].task

    def work() -> None:
        while not stop.is_set():
            generator.generate(task, sources, options)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def measure_searches(
    services: Services, generator: GeneratorService, sources: Sequence[str], seconds: float
) -> Iterator[Searches]:
    queries = [" ".join(source.split()[:5]) for source in sources]
    _search_for(services, queries, "warm-up", min(3.0, seconds))
    yield _search_for(services, queries, "idle", seconds)
    with generating(generator, sources[:1], GREEDY):
        yield _search_for(services, queries, "beside one text after another", seconds)
    with generating(generator, sources[:8], replace(GREEDY, beams=4)):
        yield _search_for(services, queries, "beside 8 sources with 4 beams", seconds)


def _search_for(services: Services, queries: Sequence[str], name: str, seconds: float) -> Searches:
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while (started := time.perf_counter()) < deadline:
        query = f"{queries[len(times) % len(queries)]} {len(times)}"  # none is asked twice
        services.search.search(COLLECTION, SearchRequest(query))
        times.append(time.perf_counter() - started)
    p50, p99 = np.percentile(np.array(times) * 1e3, [50, 99])
    return Searches(name, len(times), float(p50), float(p99))


@contextmanager
def running_service(encoder: EncoderService, documents: int) -> Iterator[Services]:
    """With so many docstrings in it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_runtime(Settings(data_dir=Path(folder)), encoder) as running,
    ):
        collection, _ = running.collections.create(COLLECTION, "", None, CollectionSettings())
        items = [
            {"id": str(i), "title": passage.title, "text": passage.text}
            for i, passage in enumerate(islice(stdlib_docstrings(), documents))
        ]
        running.ingest.submit(collection, items)
        while running.collections.describe(COLLECTION).counts.searchable < documents:
            time.sleep(0.2)
        yield running


def _loaded(folder: Path | None, encoder: EncoderService, precision: str, threads: int) -> GeneratorService:
    folder = folder or shipped_generator()
    if folder.is_dir():
        return load_generator(folder, encoder, precision, threads)
    with tempfile.TemporaryDirectory() as random:
        write_in_own_process(Path(random))
        return load_generator(Path(random), encoder, precision, threads)


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmRSS:")[1].split()[0]) / 1e3


def _report(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def run(options: argparse.Namespace) -> None:
    encoder = load_encoder(precision="int8")
    before_mb = _resident_mb()
    generator = _loaded(options.generator, encoder, options.precision, options.threads)
    sources = [passage.text[:120] for passage in islice(stdlib_docstrings(), 64)]
    loaded_mb = _resident_mb()
    cases = list(measure_cases(generator, sources))
    _report(
        f"{generator.info.id}, weights in {options.precision}, {options.threads} thread(s)",
        ("what", "tokens/s", "ms a call"),
        [(case.name, f"{case.tokens_per_s:,.0f}", f"{case.seconds * 1e3:,.0f}") for case in cases],
    )
    Console().print(f"first piece of a stream: {first_piece_ms(generator, sources[:20]):.0f} ms (median)")
    Console().print(
        f"memory beyond the encoder: {loaded_mb - before_mb:,.0f} MB loaded, "
        f"{_resident_mb() - before_mb:,.0f} MB after the largest batch"
    )
    if options.search_s:
        with running_service(encoder, options.documents) as services:
            found = list(measure_searches(services, generator, sources, options.search_s))
        rows = [(one.name, str(one.count), f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}") for one in found]
        _report("searches", ("while", "searches", "p50 ms", "p99 ms"), rows)
    generator.close()
    encoder.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--search-s", type=float, default=10.0)
    options = parser.parse_args()
    work: Callable[[argparse.Namespace], None] = run
    if options.device == "cuda":
        from benchmarks.generate_cuda import run as run_cuda

        work = run_cuda
    work(options)


if __name__ == "__main__":
    main()
