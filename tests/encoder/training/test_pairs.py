"""Reading pairs: plain and packed files, and messages that name the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from core.types import PassageText
from encoder.training.pairs import NO_LABEL, read_pairs
from tests.encoder.training.tiny import write_rows

ROWS: list[dict[str, Any]] = [
    {"query": "a", "text": "x", "title": "T"},
    {"query": "A ", "text": "y", "negatives": ["z", {"text": "x", "title": "T"}]},
    {"text": "only a passage"},
    {"query": "b", "text": "x", "title": "T"},
]


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_equal_passages_and_equal_queries_are_one(tmp_path: Path, name: str) -> None:
    pairs = read_pairs(write_rows(tmp_path / name, ROWS))
    assert pairs.queries == ("a", "A ", "b")
    assert pairs.passages == (
        PassageText("T", "x"),
        PassageText("", "y"),
        PassageText("", "z"),
        PassageText("", "only a passage"),
    )
    assert pairs.positives.tolist() == [0, 1, 0]
    assert pairs.negatives == ((), (2, 0), ())
    assert pairs.query_keys.tolist() == [0, 0, 1]
    assert pairs.answers() == {0: {0, 1}, 1: {0}}


def test_fields_that_may_be_absent_may_be_null(tmp_path: Path) -> None:
    rows = [{"query": q, "text": "x", "title": None, "negatives": None, "label": None} for q in ("a", "b")]
    pairs = read_pairs(write_rows(tmp_path / "p.jsonl", rows))
    assert pairs.negatives == ((), ())
    assert pairs.passages == (PassageText("", "x"),)


def test_labels_go_with_pairs_and_their_passages(tmp_path: Path) -> None:
    rows = [{"query": "a", "text": "x", "label": "l"}, {"query": "b", "text": "y"}]
    pairs = read_pairs(write_rows(tmp_path / "p.jsonl", rows))
    assert pairs.labels.tolist() == pairs.passage_labels.tolist() == [0, NO_LABEL]


def test_at_most_so_many_pairs_are_read(tmp_path: Path) -> None:
    assert len(read_pairs(write_rows(tmp_path / "p.jsonl", ROWS), max_pairs=2)) == 2


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"query": "a"}', '{"query": 1, "text": "x"}', '{"query": "a", "text": ["x"]}']
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = write_rows(tmp_path / "p.jsonl", ROWS)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InvalidInput, match="line 5: expected an object"):
        read_pairs(path)


def test_a_missing_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        read_pairs(tmp_path / "nothing.jsonl")
    with pytest.raises(InvalidInput, match="holds 0 pairs"):
        read_pairs(write_rows(tmp_path / "p.jsonl", [{"text": "no query"}]))


def test_a_damaged_packed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(b"not gzip at all")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_pairs(path)
    packed = write_rows(path, ROWS).read_bytes()
    path.write_bytes(packed[:10] + b"\xff" * 20 + packed[30:])
    with pytest.raises(InvalidInput, match=r"p\.jsonl\.gz cannot be read"):
        read_pairs(path)
