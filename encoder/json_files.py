"""JSON files of model folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import CheckpointError


def read_json(path: Path, default: Any = None) -> Any:
    """Contents of a file; `default`, unless None, where there is none.

    They are of the default's type, or an object. Raises CheckpointError.
    """
    if not path.is_file():
        if default is not None:
            return default
        raise CheckpointError(f"{path} is missing; a model folder needs it.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
    expected = list if isinstance(default, list) else dict
    if not isinstance(found, expected):
        kind = "a list" if expected is list else "an object"
        raise CheckpointError(f"{path} holds a {type(found).__name__}; {kind} is expected there.")
    return found
