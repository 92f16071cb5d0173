"""Lines of plain and packed files, and what is said of those that are damaged."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.text_lines import read_lines

CONTENT = "".join(f"line {i} {i * 7919 % 1013}\n" for i in range(1000)).encode()
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda packed: packed[: len(packed) // 2],
    "cut in its head": lambda packed: packed[:5],
    "another format": lambda packed: b"not gzip at all",
    "damaged in the middle": lambda packed: packed[:10] + b"\xff" * 40 + packed[50:],
    "another checksum": lambda packed: packed[:-8] + bytes(8),
}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_have_their_numbers_and_blank_ones_are_left_out(tmp_path: Path, name: str) -> None:
    content = "one\r\n\n \n\u2028two\ue000\n\ufeffthree".encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    assert list(read_lines(path)) == [(1, "one"), (4, "\u2028two\ue000"), (5, "\ufeffthree")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_byte_order_mark_at_the_beginning_is_no_text(tmp_path: Path, name: str) -> None:
    content = "\ufeff{}\r\n\ufeff{}\r\n".encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    assert list(read_lines(path)) == [(1, "{}"), (2, "\ufeff{}")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_packed_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(DAMAGES[damage](gzip.compress(CONTENT)))
    with pytest.raises(InvalidInput, match=r"a\.jsonl\.gz cannot be read \(.*is it complete"):
        list(read_lines(path))


def test_a_missing_file_and_a_line_that_is_not_utf_8_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.jsonl cannot be read"):
        list(read_lines(tmp_path / "none.jsonl"))
    (tmp_path / "a.jsonl").write_bytes(b"fine\n\xff\n")
    with pytest.raises(InvalidInput, match=r"a\.jsonl:2 is not UTF-8"):
        list(read_lines(tmp_path / "a.jsonl"))
