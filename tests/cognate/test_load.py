"""What the load generator reads, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from cognate import load
from cognate.client import Client
from cognate.load import read_corpus
from core.errors import InvalidInput
from tests.cognate.near import bring_near, serving


def test_a_corpus_is_read_and_one_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl.gz"
    rows = [{"_id": f"d{i}", "text": f"text {i * 7919 % 1013}"} for i in range(500)]
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    path.write_bytes(packed)
    assert read_corpus(path, 2) == [
        {"id": "d0", "title": "", "text": "text 0"},
        {"id": "d1", "title": "", "text": "text 828"},
    ]
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InvalidInput, match=r"corpus\.jsonl\.gz cannot be read"):
        read_corpus(path, 500)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_run_leaves_no_collection_behind(
    is_stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "1", "text": "a cat"}\n{"id": "2", "text": "a dog"}\n')

    def run(self: object, name: str, clients: int, seconds: float) -> load.SearchRun:
        if is_stopped and name == "while ingesting":
            raise KeyboardInterrupt
        return load.SearchRun(name, clients, 1, 0, 1.0, 1.0, 1.0, 1.0)

    monkeypatch.setattr(load.SearchTarget, "run", run)
    monkeypatch.setattr(load, "_resident_mb", lambda url, api_key: 1.0)
    with serving(tmp_path) as http:
        kept = http.put("/v1/collections/mine", json={}).json()["name"]
        bring_near(monkeypatch, http, Client, load)
        with pytest.raises(KeyboardInterrupt) if is_stopped else nullcontext():
            load.bench_server("http://127.0.0.1", "", corpus, 2, 0.0)
        assert [one["name"] for one in http.get("/v1/collections").json()["collections"]] == [kept]
