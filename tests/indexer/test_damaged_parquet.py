"""Parquet that is damaged in any place is refused or read; it never ends the process."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import InvalidInput, TooLarge
from core.job_types import ImportFields
from indexer import parquet_sizes
from indexer.imports import FileImportReader
from indexer.parquet_sizes import Chunk, column_chunks, dictionary_bytes, read_footer

# Flips a bit of each byte of the footer in turn, and reads what is then sent.
FLIPS = """
import io, sys
from core.errors import CognateError
from core.job_types import ImportFields
from indexer.imports import FileImportReader

sent = sys.stdin.buffer.read()
reader = FileImportReader()
end = len(sent) - 8
for i, place in enumerate(range(end - int.from_bytes(sent[end:-4], "little"), end)):
    damaged = bytearray(sent)
    damaged[place] ^= 1 << i % 8
    def opened():
        return io.BytesIO(damaged)
    try:
        plan = reader.plan(opened, "x.parquet", ImportFields())
        list(reader.items(opened, "x.parquet", plan, 0))
    except CognateError:
        pass
"""


def parquet(rows: int = 50, row_group_size: int | None = None, use_dictionary: bool = True) -> bytes:
    file = io.BytesIO()
    table = pa.table(
        {
            "id": [str(i) for i in range(rows)],
            "text": [f"text {i}" for i in range(rows)],
            "n": [[i, 2] for i in range(rows)],
        }
    )
    pq.write_table(
        table, file, compression=None, row_group_size=row_group_size, use_dictionary=use_dictionary
    )
    return file.getvalue()


def refusal(content: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        FileImportReader().plan(lambda: io.BytesIO(content), "x.parquet", ImportFields())
    return str(caught.value)


def test_no_flipped_bit_of_a_footer_ends_the_process_or_is_another_error() -> None:
    child = subprocess.run(
        [sys.executable, "-c", FLIPS],
        input=parquet(),
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
        check=False,
    )
    assert (child.returncode, child.stderr[-2000:]) == (0, b"")


def test_a_page_whose_indexes_are_out_of_range_is_a_damaged_file() -> None:
    content = bytearray(parquet())
    column = pq.read_metadata(io.BytesIO(content)).row_group(0).column(1)
    end = column.dictionary_page_offset + column.total_compressed_size
    content[end - 8 : end] = b"\xff" * 8
    assert "out-of-bounds" in refusal(bytes(content))


def test_a_column_whose_name_is_no_text_is_a_damaged_file() -> None:
    assert "a name in it is no UTF-8" in refusal(parquet().replace(b"text", b"t\xffxt"))


def test_a_file_cut_short_says_how_parquet_ends() -> None:
    content = parquet()
    assert "does not end like Parquet" in refusal(content[:-1])
    assert "does not end like Parquet" in refusal(content[-100:])


@pytest.mark.parametrize("use_dictionary", [True, False])
def test_sizes_are_those_that_the_library_reads(use_dictionary: bool) -> None:
    file = io.BytesIO(parquet(50, 20, use_dictionary))
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [[group.column(i) for i in range(metadata.num_columns)] for group in groups]
    assert column_chunks(read_footer(file)) == [
        [
            Chunk(one.total_uncompressed_size, one.dictionary_page_offset or one.data_page_offset)
            for one in row
        ]
        for row in columns
    ]


@pytest.mark.parametrize(("use_dictionary", "expected"), [(True, 50 * (4 + 6) + 40), (False, 0)])
def test_the_size_of_a_dictionary_is_read_from_its_page(use_dictionary: bool, expected: int) -> None:
    file = io.BytesIO(parquet(50, use_dictionary=use_dictionary))
    chunk = column_chunks(read_footer(file))[0][1]
    assert dictionary_bytes(file, chunk) == expected
    with pytest.raises(InvalidInput, match="begins no page"):
        dictionary_bytes(file, Chunk(chunk.size, len(file.getvalue())))


@pytest.mark.parametrize("footer", [b"", b"\x49", b"\x1b" * 1000, b"\x19\xfc\xff\xff\xff\x7f", b"\xff" * 100])
def test_what_is_no_footer_is_refused(footer: bytes) -> None:
    with pytest.raises(InvalidInput, match="damaged or encrypted"):
        column_chunks(footer)


def test_a_footer_over_its_limit_is_refused_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_sizes, "MAX_FOOTER_BYTES", 100)
    with pytest.raises(TooLarge, match="the limit is 100"):
        read_footer(io.BytesIO(parquet()))
