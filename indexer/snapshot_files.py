"""Files of a snapshot: written so that a full disk is always noticed, and named as such."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import faiss
import numpy as np
import numpy.typing as npt

HASH_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Writer:
    """Hides from numpy that it is a file: an array written past Python loses the reason of a failure."""

    write: Callable[[bytes], int]


def write_index(path: Path, index: faiss.Index) -> None:
    """Writes a FAISS index. Raises OSError.

    FAISS opens no file itself: when closing one fails, as it does on a full disk, it says so to nobody.
    """
    with _made(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Writes an array as .npy. Raises OSError."""
    with _made(path) as file:
        np.save(_Writer(file.write), array, allow_pickle=False)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8. Raises OSError."""
    with _made(path) as file:
        file.write(text.encode())


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _made(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk at the end."""
    with open(path, "xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
