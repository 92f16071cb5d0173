"""Builds indexes of synthetic vectors and measures how fast each finds how much; writes JSON and a chart.

python -m benchmarks.scale build FOLDER --rows 1000000 --kinds IVF1024,PQ192x4fs HNSW32 [--threads 2]
python -m benchmarks.scale measure FOLDER --rows 1000000 [--kinds …] [--seconds 1]
python -m benchmarks.scale peers FOLDER --rows 100000 [--seconds 1]
python -m benchmarks.scale chart FOLDER CHART.png

`build` keeps vectors, truth and indexes in FOLDER, so that building may be slow and measuring short. Build
times are processor seconds of all threads, which other programs on the machine disturb little. `measure`
searches through the service's own code (`indexer.vector_index.View`), one query at a time in one thread, with
growing effort; `peers` does so by turns with the same graph in plain FAISS and one of hnswlib with the same
parameters. The vectors are those of `benchmarks.vectors` (d = 384, a cluster for 500 rows, seed 0).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.vectors import BLOCK, ClusteredVectors
from core.types import Float16, Float32
from indexer.ann_search import EF_SEARCH
from indexer.exact import Alive, search_exactly, use_threads
from indexer.main_index import (
    EF_CONSTRUCTION,
    Build,
    MainIndex,
    build_main,
    is_lossless,
    stored_vectors,
    use_huge_pages_for_graph,
)
from indexer.vector_index import Segment, View

D = 384
ROWS_A_CLUSTER = 500
QUERIES = 500
K = 10
TOLERANCE = 1e-5
EFFORTS = tuple(2.0 ** (step / 2) for step in range(-8, 9))
TARGETS = (0.95, 0.99)
ENOUGH = 0.995


@dataclass(frozen=True, slots=True)
class Built:
    """What a build took; `bytes_a_vector` counts vectors, graph or codes, and ids in memory."""

    rows: int
    kind: str
    build_cpu_s: float
    bytes_a_vector: float


@dataclass(frozen=True, slots=True)
class Point:
    """Searches with one effort: recall@10, and one thread's rate and time a query."""

    system: str
    rows: int
    kind: str
    effort: float
    recall: float
    queries_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Files:
    """Where a size's vectors, truth, indexes and results lie."""

    folder: Path
    rows: int

    @property
    def vectors(self) -> Path:
        return self.folder / f"vectors-{self.rows}.npy"

    @property
    def truth(self) -> Path:
        return self.folder / f"truth-{self.rows}.npy"

    def index(self, kind: str) -> Path:
        return self.folder / f"{self.rows}-{kind.replace(',', '_')}.faiss"

    def result(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}-{self.rows}-{kind.replace(',', '_')}.json"

    def kinds(self) -> list[str]:
        built = sorted(self.folder.glob(f"built-{self.rows}-*.json"))
        return [json.loads(path.read_text())["kind"] for path in built]


def dataset(rows: int) -> ClusteredVectors:
    return ClusteredVectors(D, max(1, rows // ROWS_A_CLUSTER), seed=0)


def queries(rows: int) -> Float32:
    """(500, d): rows of the block after all that are indexed."""
    first = (rows // BLOCK + 1) * BLOCK
    return dataset(rows).rows(first, first + QUERIES)


def prepare(files: Files) -> Float16:
    """The vectors (n, d) float16 and, in a file, the true tenth score of each query."""
    if not files.vectors.exists():
        vectors = np.empty((files.rows, D), dtype=np.float16)
        for start in range(0, files.rows, BLOCK):
            stop = min(files.rows, start + BLOCK)
            vectors[start:stop] = dataset(files.rows).rows(start, stop)
        np.save(files.vectors, vectors)
    stored: Float16 = np.load(files.vectors)
    if not files.truth.exists():
        scores, _ = search_exactly(queries(files.rows), stored, K, Alive(np.ones(files.rows, dtype=np.bool_)))
        np.save(files.truth, scores[:, -1])
    return stored


def build(files: Files, kinds: list[str], threads: int) -> None:
    vectors = prepare(files)
    ids = np.arange(files.rows)
    for kind in kinds:
        started = time.process_time()
        main = build_main(vectors, ids, ids, Build(kind, threads))
        built = Built(files.rows, kind, time.process_time() - started, main.bytes / files.rows)
        faiss.write_index(main.index, str(files.index(kind)))
        files.result("built", kind).write_text(json.dumps(asdict(built)))
        print(built, flush=True)


def load(files: Files, kind: str) -> MainIndex:
    index = faiss.read_index(str(files.index(kind)))
    use_huge_pages_for_graph(index)
    vectors = stored_vectors(index) if is_lossless(index) else np.load(files.vectors)
    ids = np.arange(files.rows)
    return MainIndex(kind, index, vectors, ids, ids, files.rows)


def measure(files: Files, kinds: list[str], seconds: float) -> None:
    for kind in kinds:
        main = load(files, kind)
        points = list(_efforts(files, main, seconds))
        files.result("points", kind).write_text(json.dumps([asdict(point) for point in points]))


def _efforts(files: Files, main: MainIndex, seconds: float) -> Iterator[Point]:
    for effort in EFFORTS:
        point = _timed(files, "cognate", main.factory, effort, _through(main, effort), seconds)
        yield point
        if main.is_exact or point.recall >= ENOUGH:
            return


def _through(main: MainIndex, effort: float) -> Callable[[Float32], list[float]]:
    """A search through the service's own view with one query (1, d)."""
    alive = Alive(np.ones(main.n, dtype=np.bool_))
    view = View(1, D, (Segment(replace(main, effort=effort), alive),))
    return lambda xq: [hit.score for hit in view.search(xq, K)[0]]


def _timed(
    files: Files, system: str, kind: str, effort: float, search: Callable[[Float32], Any], seconds: float
) -> Point:
    """Searches with one query after the other for so many seconds, after some to warm up."""
    xq, truth = queries(files.rows), np.load(files.truth)
    for query in xq[-20:]:
        search(query[None])
    times: list[float] = []
    found: list[float] = []
    ends = time.perf_counter() + seconds
    while (started := time.perf_counter()) < ends:
        place = len(times) % len(xq)
        scores = search(xq[place][None])
        times.append(time.perf_counter() - started)
        found.append(float(np.mean(np.asarray(scores) >= truth[place] - TOLERANCE)))
    p50, p99 = np.percentile(times, (50, 99)) * 1000
    rate = len(times) / sum(times)
    point = Point(system, files.rows, kind, effort, float(np.mean(found)), rate, float(p50), float(p99))
    print(point, flush=True)
    return point


def peers(files: Files, seconds: float) -> None:
    """Ours, plain FAISS and hnswlib by turns: graphs of the same parameters, the same breadths of search."""
    import hnswlib  # type: ignore[import-untyped]  # a peer, wanted here alone

    kind = "HNSW32"
    main = load(files, kind)
    plain = faiss.read_index(str(files.index(kind)))
    graph = hnswlib.Index("ip", D)
    path = files.index("hnswlib")
    if path.exists():
        graph.load_index(str(path))
    else:
        graph.init_index(files.rows, ef_construction=EF_CONSTRUCTION, M=32)
        graph.add_items(main.vectors, num_threads=2)
        graph.save_index(str(path))
    use_threads(1)
    points = []
    for effort in EFFORTS:
        breadth = max(int(effort * EF_SEARCH), K)
        graph.set_ef(breadth)
        parameters = faiss.SearchParametersHNSW(efSearch=breadth)

        def in_faiss(xq: Float32, parameters: Any = parameters) -> Any:
            return plain.search(xq, K, params=parameters)[0]

        def in_hnswlib(xq: Float32) -> Any:
            return 1 - graph.knn_query(xq, K, num_threads=1)[1]

        for name, search in (
            ("cognate", _through(main, effort)),
            ("faiss", in_faiss),
            ("hnswlib", in_hnswlib),
        ):
            points.append(_timed(files, name, kind, effort, search, seconds))
        if all(point.recall >= ENOUGH for point in points[-3:]):
            break
    for name, is_ours in (("points", True), ("peers", False)):
        chosen = [asdict(point) for point in points if (point.system == "cognate") is is_ours]
        files.result(name, kind).write_text(json.dumps(chosen))


def chart(folder: Path, path: Path) -> None:
    """Rate over recall, a line for each kind, a panel for each size; and a table of it on standard output."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    measured = [
        Point(**one) for file in sorted(folder.glob("p*-*.json")) for one in json.loads(file.read_text())
    ]
    built = [Built(**json.loads(file.read_text())) for file in sorted(folder.glob("built-*.json"))]
    sizes = sorted({point.rows for point in measured})
    figure, panels = plt.subplots(1, len(sizes), figsize=(5 * len(sizes), 4), squeeze=False, sharey=True)
    for panel, rows in zip(panels[0], sizes, strict=True):
        for system, kind in sorted({(p.system, p.kind) for p in measured if p.rows == rows}):
            line = [p for p in measured if (p.system, p.kind, p.rows) == (system, kind, rows)]
            label = kind if system == "cognate" else f"{kind} ({system})"
            style = "o-" if system == "cognate" else "x:"
            panel.plot([p.recall for p in line], [p.queries_per_s for p in line], style, label=label, ms=3)
        panel.set(title=f"{rows:,} vectors, d = {D}", xlabel="recall@10", yscale="log", xlim=(0.8, 1.002))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    panels[0][0].set_ylabel("queries/s, one thread")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    print("\n".join(_table(measured, built)))


def _table(measured: list[Point], built: list[Built]) -> Iterator[str]:
    heads = [f"queries/s (p50) at {target:.2f}" for target in TARGETS]
    yield f"| vectors | kind | system | build, core-s | bytes a vector | {' | '.join(heads)} |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for rows, kind, system in sorted({(p.rows, p.kind, p.system) for p in measured}):
        line = [p for p in measured if (p.rows, p.kind, p.system) == (rows, kind, system)]
        costs = next((one for one in built if (one.rows, one.kind) == (rows, kind)), None)
        cells = [f"{costs.build_cpu_s:,.0f}", f"{costs.bytes_a_vector:,.0f}"] if costs else ["", ""]
        cells += [_rate(line, target) for target in TARGETS]
        yield f"| {rows:,} | `{kind}` | {system} | {' | '.join(cells)} |"


def _rate(line: list[Point], target: float) -> str:
    """The rate of the least effort that reaches the target."""
    reached = next((point for point in line if point.recall >= target), None)
    if reached is None:
        return f"- (at most {max(point.recall for point in line):.3f})"
    return f"{reached.queries_per_s:,.0f} ({reached.p50_ms:.2f} ms)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", choices=("build", "measure", "peers", "chart"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("chart", type=Path, nargs="?", default=Path("scaling.png"))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    files = Files(arguments.folder, arguments.rows)
    if arguments.work == "build":
        build(files, arguments.kinds or ["Flat", "HNSW32"], arguments.threads)
    elif arguments.work == "measure":
        measure(files, arguments.kinds or files.kinds(), arguments.seconds)
    elif arguments.work == "peers":
        peers(files, arguments.seconds)
    else:
        chart(arguments.folder, arguments.chart)


if __name__ == "__main__":
    main()
