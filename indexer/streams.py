"""Uploaded files as streams: unpacked, never more than a stated number of bytes, and text in pieces."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

import pyarrow

from core.errors import TooLarge
from core.ports.work import OpenFile
from indexer.spool import SYSTEM_SPOOL, Spool

MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024 * 1024
BUFFER_BYTES: Final = 1 << 20
GZIP: Final = "gzip"


class UnpackedTooLarge(TooLarge):
    """A stream gave more bytes than it may: packed files may unpack to anything."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it was sent: how to open it, its name, how it is packed, and how much of it may be read.

    `spool` is where it is unpacked if it must be read from its end.
    """

    open_file: OpenFile
    filename: str
    compression: str | None
    max_bytes: int
    spool: Spool = SYSTEM_SPOOL

    def open(self) -> IO[bytes]:
        """The unpacked content. Reading more than `max_bytes` raises UnpackedTooLarge."""
        return io.BufferedReader(_Limited(self._packed(), self.max_bytes), BUFFER_BYTES)

    def pieces(self, newline: str, max_characters: int) -> Iterator[str]:
        """Decoded lines with their ends, longer ones in pieces; a byte order mark is dropped."""
        with closing(io.TextIOWrapper(self.open(), "utf-8-sig", newline=newline)) as text:
            while piece := text.readline(max_characters):
                yield piece

    def blocks(self, max_characters: int) -> Iterator[str]:
        """The decoded text in blocks, cut anywhere; a byte order mark is dropped."""
        with closing(io.TextIOWrapper(self.open(), "utf-8-sig", newline="")) as text:
            while block := text.read(max_characters):
                yield block

    @contextmanager
    def seekable(self) -> Iterator[IO[bytes]]:
        """The file itself, or its content unpacked to disk: Parquet is read from its end.

        Raises InvalidInput, TooLarge, StorageFull for what cannot be unpacked.
        """
        if self.compression is None:
            with self.open_file() as file:
                yield file
            return
        with closing(self._packed()) as packed, self.spool.unpacked(packed, self.filename) as file:
            yield file

    def is_empty(self) -> bool:
        """Whether not a single byte was sent."""
        with self.open_file() as file:
            return not file.read(1)

    def describe_encoding(self) -> str:
        """Finds the first byte that is not UTF-8, counted from 0 in the unpacked file."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        done = 0
        with closing(self.open()) as stream:
            while block := stream.read(BUFFER_BYTES):
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    at = done - pending + error.start
                    return (
                        f"File {self.filename!r} is not UTF-8: byte 0x{error.object[error.start]:02x}"
                        f" at {at} cannot be decoded. Save it as UTF-8 (in a spreadsheet: 'CSV UTF-8')"
                        " and send it again"
                    )
                done += len(block)
        return f"File {self.filename!r} ends inside a UTF-8 character; save it as UTF-8 and send it again"

    def _packed(self) -> Any:
        if self.compression == GZIP:
            return _Gunzipped(self.open_file())
        return pyarrow.input_stream(self.open_file(), compression=self.compression)


class _Gunzipped(gzip.GzipFile):
    """Unpacks `file`, which is closed with it. Unlike pyarrow it takes zeros after the end, as of tapes."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(fileobj=file)
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        """Raises OSError without a number for what is damaged."""
        try:
            return super().read(size)
        except (EOFError, zlib.error) as error:
            raise OSError(str(error)) from None

    def close(self) -> None:
        super().close()
        self._file.close()


class _Limited(io.RawIOBase):
    """`stream` up to `max_bytes`."""

    def __init__(self, stream: Any, max_bytes: int) -> None:
        super().__init__()
        self._stream = stream
        self._max_bytes = max_bytes
        self._read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        self._read_bytes += len(block)
        if self._read_bytes > self._max_bytes:
            raise UnpackedTooLarge(
                f"The file holds more than {self._max_bytes >> 20:,} MiB unpacked, the limit; split it"
            )
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()
