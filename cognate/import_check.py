"""A file that is to be imported, looked at before a collection is made for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.job_types import ImportFields
from indexer.imports import FileImportReader

UNPACKED_WHOLE = (".parquet.gz", ".parquet.zst")


def check_readable(path: Path, given: Mapping[str, str | None]) -> None:
    """Raises InvalidInput or TooLarge where the server would refuse the file's beginning or its columns.

    `given` are the fields of the upload's form. Packed Parquet, which is unpacked whole to be read, is left
    to the server.
    """
    if path.name.lower().endswith(UNPACKED_WHOLE):
        return
    columns = {name: column or None for name, column in given.items() if name != "metadata_fields"}
    listed = given.get("metadata_fields")
    kept = tuple(name.strip() for name in listed.split(",") if name.strip()) if listed else None
    FileImportReader().plan(lambda: path.open("rb"), path.name, ImportFields(**columns, metadata_fields=kept))
