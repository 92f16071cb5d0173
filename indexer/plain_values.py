"""Values of any reader as plain JSON values: what numpy, pandas and Parquet hold becomes Python's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

_MISSING_TYPES = ("NAType", "NaTType")


def to_plain(value: Any) -> Any:
    """A JSON value equal to `value`; None for NaN, NaT and NA.

    Dates become ISO 8601 text, durations seconds, bytes text. Raises ValueError for bytes that are no UTF-8.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if type(value).__name__ in _MISSING_TYPES:
        return None
    if isinstance(value, np.generic | np.ndarray):
        return _from_numpy(value)
    if isinstance(value, float | Decimal):
        return None if math.isnan(value) else float(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    return _from_other(value)


def to_text(value: Any) -> str | None:
    """A plain value as text for an id, a text or a title; 3.0 is "3": some tools turn ids into floats."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _from_numpy(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else float(value / np.timedelta64(1, "s"))
    return to_plain(value.tolist())


def _from_other(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
