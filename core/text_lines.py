"""Lines of text files, plain or gzip; a file that is cut short or damaged is named."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from core.errors import InvalidInput


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank; lines end at a line feed only.

    A byte order mark at the beginning, as Windows programs write it, is no part of the text.

    Raises InvalidInput for a file that cannot be read, and naming the line that is not UTF-8.
    """
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                if line := _text(path, number, raw):
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); is it complete and of its kind?") from None


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _text(path: Path, number: int, raw: bytes) -> str:
    """Without the end of the line; empty if there is only white space."""
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}:{number} is not UTF-8 ({error.reason}); convert the file.") from None
    return line if line.strip() else ""
