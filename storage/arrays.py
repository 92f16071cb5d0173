"""Named arrays as bytes: a ZIP of .npy files, as numpy's own .npz; nothing that could run when it is read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_SUFFIX = ".npy"


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Raises ValueError for arrays of Python objects."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(name + _SUFFIX, "w") as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """What `pack` was given, with the same dtypes and bits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name.removesuffix(_SUFFIX): _read(archive, name) for name in archive.namelist()}


def _read(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(name) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array
