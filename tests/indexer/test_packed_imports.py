"""Files in gzip or Zstandard that are cut short, damaged or followed by something."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidInput
from core.job_types import ImportFields
from indexer.imports import FileImportReader
from tests.indexer.import_files import (
    ROWS,
    compressed,
    json_lines,
    opener,
    read_all,
    written,
)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_cut_short_gives_its_first_rows_and_then_says_so(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [{"id": i, "text": rng.bytes(2000).hex()} for i in range(2000)]
    content = compressed(json_lines(rows), suffix)
    path = written(tmp_path, content[: len(content) // 2])
    plan = FileImportReader().plan(opener(path), "x.jsonl" + suffix, ImportFields())
    items = FileImportReader().items(opener(path), "x.jsonl" + suffix, plan, 0)
    seen: list[object] = []
    with pytest.raises(InvalidInput, match="damaged"):
        seen.extend(items)
    assert 100 < len(seen) < 2000


def test_zeros_after_the_end_of_a_gzip_file_are_passed_over(tmp_path: Path) -> None:
    """Tapes and block devices fill their last block, and gzip(1) takes that."""
    packed = gzip.compress(json_lines(ROWS[:1])) + gzip.compress(b"\n" + json_lines(ROWS[1:]))
    rows = read_all(written(tmp_path, packed), "x.jsonl.gz")
    assert read_all(written(tmp_path, packed + bytes(5000)), "x.jsonl.gz") == rows
    assert len(rows) == len(ROWS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed + b"more",
        lambda packed: packed + packed[:20],
        lambda packed: packed[:-6] + bytes(2) + packed[-4:],  # another checksum
        lambda packed: packed[:12] + b"\xff" * 8 + packed[20:],
        lambda packed: packed[:-1],
    ],
)
def test_a_gzip_file_with_anything_else_wrong_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = written(tmp_path, damage(gzip.compress(json_lines(ROWS))))
    with pytest.raises(InvalidInput, match="is damaged or no gzip file"):
        read_all(path, "x.jsonl.gz")
