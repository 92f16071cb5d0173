"""Files in a folder or an object store, whatever fsspec reaches: uploads until they are imported, backups."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

from core.errors import CognateError, NotFound, StartRefused, StorageFull, Unavailable
from core.job_types import StoredUpload

log = logging.getLogger(__name__)

ASIDE: Final = ".part"
BLOCK_BYTES: Final = 8 * 1024 * 1024  # of one request to an object store; held in memory a file
READ_BYTES: Final = 1 << 20
_BUCKET_KINDS: Final = ("s3", "s3a", "gs", "gcs", "az", "abfs")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Listings are never remembered: other processes add and delete files too.
_OPTIONS: Final = {"use_listings_cache": False}


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a store keeps, for its messages: a file of it is a `noun`; `setting` says where they are."""

    noun: str
    setting: str


UPLOADS: Final = Purpose("upload", "COGNATE_UPLOAD_URL")
BACKUPS: Final = Purpose("backup", "COGNATE_BACKUP_URL")


def local_uploads(folder: Path, purpose: Purpose = UPLOADS) -> FsspecUploadStore:
    """Files in a folder, which is made. Raises StartRefused when that is impossible."""
    _make_folder(folder, purpose)
    return FsspecUploadStore(LocalFileSystem(**_OPTIONS), str(folder), purpose)


def _make_folder(folder: Path, purpose: Purpose) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartRefused(
            f"The folder {folder} for {purpose.noun}s cannot be made: {error.strerror}. Set"
            f" {purpose.setting} or COGNATE_DATA_DIR to another."
        ) from None


def open_uploads(url: str, purpose: Purpose = UPLOADS) -> FsspecUploadStore:
    """Files at an fsspec URL, for example `s3://bucket/prefix`.

    The bucket must exist; a local folder, whose path must be whole, is made.

    Raises StartRefused for a URL that this installation cannot open. The URL may hold a password and is
    not repeated in messages.
    """
    kind = url.partition("://")[0]
    try:
        filesystem, place = url_to_fs(url, **_OPTIONS)
    except ImportError as error:
        raise StartRefused(
            f"{purpose.setting} is of kind {kind[:20]!r}, whose library is not installed: {error}. For S3:"
            " pip install 'cognate[s3]'."
        ) from None
    except Exception as error:  # each implementation refuses options in its own way
        raise StartRefused(
            f"{purpose.setting} cannot be opened ({type(error).__name__}); expected a folder or an fsspec"
            " URL such as s3://bucket/prefix."
        ) from None
    if isinstance(filesystem, LocalFileSystem):
        _require_whole_path(url, purpose)
        _make_folder(Path(place), purpose)
    elif kind in _BUCKET_KINDS and not place.partition("/")[0]:
        raise StartRefused(f"{purpose.setting} names no bucket; expected {kind}://bucket/prefix.")
    return FsspecUploadStore(filesystem, place, purpose)


def _require_whole_path(url: str, purpose: Purpose) -> None:
    """What is mistyped, s3:/bucket say, is a folder too, below wherever the process was started."""
    path = url.partition("://")[2] if "://" in url else re.sub("^(file|local):", "", url)
    if not path.startswith(("/", "~")):
        raise StartRefused(
            f"{purpose.setting} is neither a whole path nor a URL; expected /folder, file:///folder or"
            " s3://bucket/prefix: a folder that depends on where a process is started is not shared."
        )


class FsspecUploadStore:
    """Implements core.ports.UploadStore: files side by side under one folder or prefix."""

    def __init__(self, filesystem: AbstractFileSystem, folder: str, purpose: Purpose = UPLOADS) -> None:
        self._filesystem = filesystem
        self._folder = folder.rstrip("/")
        self._purpose = purpose

    def create(self, name: str, aside: str = ASIDE) -> FsspecUploadWriter:
        """A file being written at its name + `aside`. Raises StorageFull, Unavailable."""
        return FsspecUploadWriter(self._filesystem, self._path(name), aside, self._purpose)

    def open(self, name: str) -> BinaryIO:
        """For reading, seekable; reading raises Unavailable too. Raises NotFound."""
        with self._explained("opened"):
            try:
                file = self._filesystem.open(self._path(name), "rb", block_size=BLOCK_BYTES)
            except FileNotFoundError:
                raise NotFound(f"{self._purpose.noun} {name!r} does not exist") from None
        return io.BufferedReader(_Explaining(file, self._purpose), READ_BYTES)

    def exists(self, name: str) -> bool:
        with self._explained("found"):
            return self._is_there(self._path(name))

    def delete(self, name: str) -> None:
        """Does nothing when there is no such file."""
        with self._explained("deleted"), suppress(FileNotFoundError):
            self._filesystem.rm_file(self._path(name))

    def list(self) -> list[StoredUpload]:
        """All files, unfinished ones too."""
        found = []
        with self._explained("listed"), suppress(FileNotFoundError):  # an empty prefix is nowhere
            for entry in self._filesystem.ls(self._folder, detail=True):
                if entry["type"] == "file":
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        modified = self._filesystem.modified(entry["name"])
                        found.append(StoredUpload(entry["name"].rpartition("/")[2], modified))
        return found

    def _is_there(self, path: str) -> bool:
        # `exists` of fsspec answers False to every error, an outage too.
        try:
            self._filesystem.info(path)
        except FileNotFoundError:
            return False
        return True

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _explained(self, done: str) -> AbstractContextManager[None]:
        return _explained(done, self._purpose)


class FsspecUploadWriter:
    """Implements core.ports.UploadWriter: writes to `<path>.part`, then renames (object stores copy)."""

    def __init__(self, filesystem: AbstractFileSystem, path: str, aside: str, purpose: Purpose) -> None:
        self._filesystem = filesystem
        self._path = path
        self._aside = path + aside
        self._purpose = purpose
        self._written = [self._aside]
        with _explained("created", purpose):
            self._file = filesystem.open(self._aside, "wb", block_size=BLOCK_BYTES)

    def write(self, block: bytes) -> None:
        with _explained("written", self._purpose):
            self._file.write(block)

    def commit(self) -> None:
        """Returns when the file is on the disk, or whole in the object store."""
        is_local = isinstance(self._filesystem, LocalFileSystem)
        with _explained("completed", self._purpose):
            if is_local:  # no job must outlive its file when the power fails
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            self._written.append(self._path)
            self._filesystem.mv(self._aside, self._path)
            if is_local:
                _sync_folder(self._path.rpartition("/")[0] or "/")

    def discard(self) -> None:
        """Leaves nothing behind, as far as the store can be reached; the rest is left to the sweep."""
        with _logged("closed"):
            if isinstance(self._file, AbstractBufferedFile):  # closing would complete what is cut short
                self._file.discard()
                self._file.closed = True
            else:
                self._file.close()
        for path in self._written:
            with _logged("removed"), suppress(FileNotFoundError):
                self._filesystem.rm_file(path)


class _Explaining(io.RawIOBase):
    """A file open for reading whose errors are those of the port."""

    def __init__(self, file: Any, purpose: Purpose) -> None:
        super().__init__()
        self._file = file
        self._purpose = purpose

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _explained("read", self._purpose):
            block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _explained("read", self._purpose):
            if whence == io.SEEK_END:
                offset, whence = self._file.seek(0, io.SEEK_END) + offset, io.SEEK_SET
        if offset < 0 and whence == io.SEEK_SET:  # each library refuses that in its own way; none is at fault
            raise OSError(errno.EINVAL, "a place before the beginning of the file")
        with _explained("read", self._purpose):
            return cast(int, self._file.seek(offset, whence))

    def tell(self) -> int:
        return cast(int, self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _explained(done: str, purpose: Purpose) -> Iterator[None]:
    """Errors of the file system, each library's own, as the port's; the log has the cause."""
    try:
        yield
    except CognateError:
        raise
    except Exception as error:
        log.warning("%s could not be %s", purpose.noun, done, exc_info=error)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise StorageFull(
                f"There is no room to store the {purpose.noun}; nothing of it was kept. Free space where"
                f" {purpose.noun}s are kept ({purpose.setting}, else the data folder), then send it again."
            ) from None
        raise Unavailable(
            f"The store of {purpose.noun}s failed: a file could not be {done}. Retry later."
        ) from None


@contextmanager
def _logged(done: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("an unfinished file could not be %s", done, exc_info=error)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
