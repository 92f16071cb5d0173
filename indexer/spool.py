"""Packed Parquet unpacked to disk, up to a limit: it is read from its end."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from core.errors import InvalidInput, StorageFull, TooLarge

PARQUET_MAGIC: Final = b"PAR1"
SPOOL_BLOCK_BYTES: Final = 1 << 20
DEFAULT_MAX_SPOOLED_BYTES: Final = 2 * 1024**3
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Spool:
    """Where files are unpacked (None: the system's temporary folder), and to how many bytes at most.

    `limit_name` is what a refusal calls the limit.
    """

    folder: Path | None = None
    max_bytes: int = DEFAULT_MAX_SPOOLED_BYTES
    limit_name: str = "the limit"

    @contextmanager
    def unpacked(self, packed: IO[bytes], filename: str) -> Iterator[IO[bytes]]:
        """The Parquet that `packed` gives, in an unnamed file that goes with the block.

        Raises InvalidInput when it does not begin like Parquet, before anything is written; TooLarge,
        StorageFull, and what reading `packed` raises.
        """
        block = packed.read(SPOOL_BLOCK_BYTES)
        if not block.startswith(PARQUET_MAGIC):
            raise InvalidInput(
                f"File {filename!r} holds no Parquet: unpacked it begins with {block[:4]!r}, expected"
                f" {PARQUET_MAGIC!r}. Send the format that its name says"
            )
        with ExitStack() as stack:
            with self._explained(filename):
                file = stack.enter_context(tempfile.TemporaryFile(dir=self.folder, buffering=0))
            self._fill(file, block, packed, filename)
            yield file

    def _fill(self, file: Any, block: bytes, packed: IO[bytes], filename: str) -> None:
        written_bytes = 0
        while block:
            written_bytes += len(block)
            if written_bytes > self.max_bytes:
                raise TooLarge(
                    f"File {filename!r} unpacks to more than {self.max_bytes:,} bytes, {self.limit_name};"
                    " split it"
                )
            with self._explained(filename):
                _write_all(file, block)
            block = packed.read(SPOOL_BLOCK_BYTES)
        file.seek(0)

    @contextmanager
    def _explained(self, filename: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise StorageFull(
                f"There is no room to unpack file {filename!r}; nothing of it was kept. Free space in"
                " COGNATE_DATA_DIR, or send it as plain .parquet"
            ) from None


SYSTEM_SPOOL: Final = Spool()


def _write_all(file: Any, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]
