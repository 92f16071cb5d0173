"""What the load generator reads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cognate.load import read_corpus
from core.errors import InvalidInput


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
