"""Encodes the same texts with Cognate's encoder and with sentence-transformers, in one run; prints one table.

python -m benchmarks.encode [CORPUS.jsonl[.gz]] [--precision int8] [--threads 2] [--limit 1000] [--json]
                            [--peer torch|openvino]
python -m benchmarks.encode [CORPUS.jsonl[.gz]] --device cuda --limit 20000 [--max-autotune] [--json]

The peer computes in float32 with torch, or in bf16 with its own OpenVINO backend, for which the package
optimum-intel must be installed (in an environment of its own: it holds transformers back).

Without a corpus it takes the docstrings of the Python standard library. Rounds of both are interleaved, so
that a slow moment of the machine hits both; medians are reported. Our queries are timed in a process of their
own, because threads of torch in the same process take the cores from them.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.query_latency import measure_in_own_process
from core.errors import StartRefused
from core.types import Float32, PassageText
from encoder.convert_minilm import source_folder
from encoder.service import load_encoder
from encoder.tokenizer import Tokenizer
from evaluation.rows import read_jsonl

ROUNDS = 3
QUERIES = 200
QUERY_TOKENS = 8
TOKENS_READ = 256  # of a text; the peer reads no more


@dataclass(frozen=True)
class Report:
    """Rates in tokens of the peer's count per second; latencies in milliseconds."""

    texts: int
    tokens: int
    tokens_per_text: float
    threads: int
    precision: str
    ours_tokens_per_s: float
    peer_tokens_per_s: float
    ratio: float
    cosine_mean: float
    cosine_min: float
    tokens_per_query: float
    ours_query_p50_ms: float
    ours_query_p99_ms: float
    peer_query_p50_ms: float
    useful_tokens_share: float


def main() -> None:
    options = _parse()
    passages = list(read_corpus(options.corpus, options.limit))
    on_cuda = options.device == "cuda"
    if on_cuda:
        report = _run_cuda(passages, options)
    else:
        report = run(passages, options.precision, options.threads, options.peer)
    if options.json:
        print(json.dumps(asdict(report), indent=2))
        return
    for name, value in asdict(report).items():
        print(f"{name:<24}{value:>14,.4f}" if isinstance(value, float) else f"{name:<24}{value:>14}")


def _in_float32(passages: list[PassageText]) -> Float32:
    """Vectors of the same weights in float32: the peer runs the base weights, ours were trained further."""
    exact = load_encoder(precision="f32", max_tokens=TOKENS_READ)
    vectors = exact.encode_passages(passages)
    exact.close()
    return vectors


def run(passages: list[PassageText], precision: str, threads: int, peer_backend: str = "torch") -> Report:
    """Measures both on the same texts with the same number of threads."""
    peer = _load_peer(threads, peer_backend)
    ours = load_encoder(precision=precision, threads=threads, max_tokens=TOKENS_READ)
    texts = [f"{p.title} {p.text}" if p.title else p.text for p in passages]
    tokens = _count_tokens(texts)

    def encode_peer() -> Float32:
        vectors: Float32 = peer.encode(texts, batch_size=32, show_progress_bar=False)
        return vectors

    def encode_ours() -> Float32:
        return ours.encode_passages(passages)

    encode_peer()  # warms it up
    cosines = (encode_ours() * _in_float32(passages)).sum(1)
    ours_s, peer_s = _interleave(encode_ours, encode_peer)
    useful = ours.stats().tokens_useful / ours.stats().tokens_computed
    ours.close()
    queries = _queries(texts)
    ours_ms = measure_in_own_process(queries, precision, threads)
    peer_ms = _latencies_ms(lambda query: peer.encode([query], show_progress_bar=False), queries)
    return Report(
        texts=len(texts),
        tokens=tokens,
        tokens_per_text=tokens / len(texts),
        threads=threads,
        precision=precision,
        ours_tokens_per_s=tokens / ours_s,
        peer_tokens_per_s=tokens / peer_s,
        ratio=peer_s / ours_s,
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        tokens_per_query=_count_tokens(queries) / len(queries),
        ours_query_p50_ms=statistics.median(ours_ms),
        ours_query_p99_ms=float(np.percentile(ours_ms, 99)),
        peer_query_p50_ms=statistics.median(peer_ms),
        useful_tokens_share=useful,
    )


def _run_cuda(passages: list[PassageText], options: argparse.Namespace) -> Any:
    """The report of benchmarks.encode_cuda, which has fields of its own."""
    from benchmarks import encode_cuda  # it imports torch
    from benchmarks.roofline import Peak

    rates = (options.peak_tflops, options.terabytes_per_s)
    try:
        return encode_cuda.run(passages, Peak(*rates) if all(rates) else None, options.max_autotune)
    except StartRefused as error:
        sys.exit(f"--device cuda measures a GPU. {error}")


def read_corpus(path: Path | None, limit: int) -> Iterator[PassageText]:
    """The first `limit` documents with any text, of a JSONL file or of the standard library's docstrings."""
    source = stdlib_docstrings() if path is None else _read_jsonl(path)
    for _, passage in zip(range(limit), source, strict=False):
        yield passage


def stdlib_docstrings() -> Iterator[PassageText]:
    """Docstrings of at least 40 characters, in order of file and line; the title is the qualified name."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                text = ast.get_docstring(node)
                if text and len(text) >= 40:
                    yield PassageText(f"{path.stem}.{node.name}", text)


def _read_jsonl(path: Path) -> Iterator[PassageText]:
    for _, row in read_jsonl(path):
        if row["text"]:
            yield PassageText(row.get("title") or "", row["text"])


def _load_peer(threads: int, backend: str) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    options = {}
    if backend == "openvino":
        properties = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads}
        options = {"ov_config": properties, "export": True}
    return SentenceTransformer(str(source_folder()), device="cpu", backend=backend, model_kwargs=options)


def _count_tokens(texts: list[str]) -> int:
    return sum(len(token_ids) for token_ids in _tokenizer().encode(texts))


def _queries(texts: list[str]) -> list[str]:
    """First words of texts that make exactly QUERY_TOKENS tokens, special ones included."""
    starts = [" ".join(text.split()[:words]) for text in texts for words in range(1, QUERY_TOKENS)]
    tokens = _tokenizer().encode(starts)
    found = [start for start, ids in zip(starts, tokens, strict=True) if len(ids) == QUERY_TOKENS]
    return list(dict.fromkeys(found))[:QUERIES]


def _tokenizer() -> Tokenizer:
    return Tokenizer((source_folder() / "tokenizer.json").read_text(encoding="utf-8"), TOKENS_READ)


def _interleave(*works: Callable[[], object]) -> list[float]:
    """Median seconds of each."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, seconds in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def _latencies_ms(encode: Callable[[str], object], queries: list[str]) -> list[float]:
    for query in queries[:20]:
        encode(query)
    times = []
    for query in queries:
        start = time.perf_counter()
        encode(query)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, nargs="?", help="JSONL with 'text' and optionally 'title'")
    parser.add_argument("--precision", default="bf16", help="f32, bf16 or int8")
    parser.add_argument("--peer", choices=["torch", "openvino"], default="torch")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=int, default=1000, help="number of texts")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--max-autotune", action="store_true", help="cuda: let the compiler tune products")
    parser.add_argument(
        "--peak-tflops", type=float, help="cuda: dense bf16 TFLOP/s, instead of the published"
    )
    parser.add_argument("--terabytes-per-s", type=float, help="cuda: memory rate, instead of the published")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
