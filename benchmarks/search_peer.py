"""txtai on the same texts and vectors, in this process: what a search costs there."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from txtai import Embeddings

from cognate.load import SearchRun
from core.types import Float32
from encoder.convert_minilm import source_folder

K = 10


def measure(queries: Sequence[str], database: Path, collection: str, seconds: float) -> SearchRun:
    """Hybrid search by one caller: what txtai stores is in SQLite, which no second thread may ask."""
    vectors = stored_vectors(database, collection)
    encoder = SentenceTransformer(str(source_folder()), device="cpu")

    def transform(texts: Sequence[str]) -> Float32:
        if all(text in vectors for text in texts):
            return np.stack([vectors[text] for text in texts])
        return np.asarray(encoder.encode(list(texts), normalize_embeddings=True), dtype=np.float32)

    index = Embeddings(method="external", transform=transform, hybrid=True, content=True)
    index.index((i, text, None) for i, text in enumerate(vectors))

    def search(query: str) -> None:
        index.search(query, K)

    return _run("txtai hybrid, no HTTP", search, queries, seconds)


def stored_vectors(database: Path, collection: str) -> Mapping[str, Float32]:
    """Text of each first passage's document -> its vector (d,) float32."""
    rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute(
        "SELECT d.title || ' ' || d.text, e.vector FROM documents d"
        " JOIN collections c ON c.id = d.collection_id"
        " JOIN passages p ON p.document_id = d.id AND p.ordinal = 0"
        " JOIN embeddings e ON e.passage_id = p.id WHERE c.name = ? AND d.state = 'searchable'",
        (collection,),
    )
    return {text: np.frombuffer(vector, dtype="<f2").astype(np.float32) for text, vector in rows}


def _run(name: str, search: Callable[[str], None], queries: Sequence[str], seconds: float) -> SearchRun:
    for query in queries[:20]:
        search(query)
    latencies_ms: list[float] = []
    started = time.perf_counter()
    while (begun := time.perf_counter()) < started + seconds:
        search(queries[len(latencies_ms) % len(queries)])
        latencies_ms.append((time.perf_counter() - begun) * 1000)
    took = time.perf_counter() - started
    p50, p95, p99 = np.percentile(latencies_ms, [50, 95, 99])
    rate = len(latencies_ms) / took
    return SearchRun(name, 1, len(latencies_ms), 0, rate, float(p50), float(p95), float(p99))
