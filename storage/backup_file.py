"""The file of a backup: a ZIP archive, sealed by the sha256 of all its bytes. docs/backup.md describes it."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, Protocol

import orjson

from core.errors import InvalidInput

FORMAT: Final = "cognate-backup"
VERSION: Final = 1
VERSION_WITH_CLASSIFIERS: Final = 2  # which readers of version 1 would pass over
MANIFEST: Final = "manifest.json"

_SEAL_PREFIX: Final = b"sha256:"
_SEAL_BYTES: Final = len(_SEAL_PREFIX) + 64
_BLOCK_BYTES: Final = 1 << 20
_LINES_BYTES: Final = 1 << 16
_MAX_MANIFEST_BYTES: Final = 64 << 20
_MAX_LINE_BYTES: Final = 256 << 20
_FAST: Final = 1  # level of deflate: most of the bytes are vectors, which hardly shrink


class Sink(Protocol):
    """Where the bytes of an archive go, one after the other."""

    def write(self, block: bytes) -> None: ...


class Damaged(InvalidInput):
    """A file is no whole backup that this version can read; says what was found."""


class _Sealed:
    """Puts the digest of everything before it where the archive's comment, its last bytes, is.

    It cannot seek, so the archive is written in one pass, to any store.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self._held = b""
        self.is_abandoned = False

    def write(self, data: bytes | memoryview) -> int:
        if self.is_abandoned:
            return len(data)
        self._held += bytes(data)
        ready, self._held = self._held[:-_SEAL_BYTES], self._held[-_SEAL_BYTES:]
        self._digest.update(ready)
        self._sink.write(ready)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        """Expected of what a ZIP archive is written to; ours ends with the seal."""

    def seal(self) -> None:
        self._sink.write(_SEAL_PREFIX + self._digest.hexdigest().encode())


class Member:
    """A file inside an archive, written line by line; counts and digests what it was given."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.rows = self.bytes = 0
        self._digest = hashlib.sha256()
        self._write = write
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        """One line with its line break."""
        self.rows += 1
        self._size += len(line)
        self._lines.append(line)
        if self._size >= _LINES_BYTES:
            self.flush()

    def flush(self) -> None:
        block = b"".join(self._lines)
        self._digest.update(block)
        self._write(block)
        self.bytes += len(block)
        self._lines, self._size = [], 0

    def description(self, name: str) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"file": name, "rows": self.rows, "bytes": self.bytes, "sha256": self._digest.hexdigest()}


class ArchiveWriter:
    """Writes an archive to `sink` from its beginning to its end."""

    def __init__(self, sink: Sink) -> None:
        self._sealed = _Sealed(sink)
        self._zip = zipfile.ZipFile(self._sealed, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST)

    @contextmanager
    def member(self, name: str) -> Iterator[Member]:
        """A file to be filled inside the block; its description is ready after it."""
        with self._zip.open(name, "w", force_zip64=True) as file:
            member = Member(file.write)
            yield member
            member.flush()

    def abandon(self) -> None:
        """Writes no more to the sink, whatever is still open."""
        self._sealed.is_abandoned = True
        self._zip.close()

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Adds the manifest and the seal."""
        self._zip.writestr(MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        self._zip.comment = b"-" * _SEAL_BYTES  # the seal takes its place
        self._zip.close()
        self._sealed.seal()


class Archive:
    """An archive open for reading. Raises Damaged when it is none, or of a newer version."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        with _refused():
            self._zip = zipfile.ZipFile(file)
            self.manifest = self._read_manifest()
        found = self.manifest.get("version")
        if self.manifest.get("format") != FORMAT or not isinstance(found, int):
            raise Damaged("The file is no backup of Cognate: its manifest does not say so.")
        if found not in (VERSION, VERSION_WITH_CLASSIFIERS):
            raise Damaged(
                f"The backup is of format version {found}; this version of Cognate reads versions"
                f" {VERSION} and {VERSION_WITH_CLASSIFIERS}."
                " Restore it with the version that made it, or a newer one."
            )

    def lines(self, description: Mapping[str, Any]) -> Iterator[bytes]:
        """Lines of a file inside, compared at its end with what the manifest says of it. Raises Damaged.

        A limit on each line bounds the memory.
        """
        with _refused(), self._zip.open(description["file"]) as file:
            name, read = str(description["file"]), Member(lambda _: None)
            while line := file.readline(_MAX_LINE_BYTES):
                if not line.endswith(b"\n"):
                    raise Damaged(f"{name} of the backup has a row that is cut short or too long.")
                read.add(line)
                yield line
            read.flush()
            found = read.description(name)
            if differing := {key: found[key] for key in found if found[key] != description.get(key)}:
                raise Damaged(f"{name} of the backup is not what its manifest says: found {differing}.")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.seek(0, 2)

    def check_seal(self, going: Callable[[], object]) -> None:
        """Compares the digest of the whole file; `going` is called now and then. Raises Damaged."""
        left = self.size - _SEAL_BYTES
        self._file.seek(0)
        digest = hashlib.sha256()
        while left > 0 and (block := self._file.read(min(left, _BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
            going()
        seal, found = self._file.read(_SEAL_BYTES), _SEAL_PREFIX + digest.hexdigest().encode()
        if seal != found:
            raise Damaged(
                f"The backup is damaged: its bytes have {found.decode()}, but its end says"
                f" {seal.decode(errors='replace')}. Use another copy."
            )

    def _read_manifest(self) -> dict[str, Any]:
        with self._zip.open(MANIFEST) as file:
            data = file.read(_MAX_MANIFEST_BYTES + 1)
        if len(data) > _MAX_MANIFEST_BYTES:
            raise Damaged("The backup's manifest is too large.")
        manifest = orjson.loads(data)
        if not isinstance(manifest, dict):
            raise Damaged("The backup's manifest is no JSON object.")
        return manifest


@contextmanager
def _refused() -> Iterator[None]:
    """What broken archives make the library raise, as Damaged."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        ValueError,
        OSError,
        NotImplementedError,
        RuntimeError,
        TypeError,
    ) as error:
        raise Damaged(
            f"The file is no whole backup of Cognate ({type(error).__name__}: {error}). It was cut short or"
            " damaged, or is something else; use another copy."
        ) from error
