"""The files of a lexical index: which belong to what is committed, and copies that share them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

from core.errors import CognateError
from indexer.snapshot_files import sync_folder, write_text

FORMAT: Final = 1  # grows when terms are made or kept otherwise
ABOUT: Final = "lexical.json"
META: Final = "meta.json"
MANAGED: Final = ".managed.json"
SUFFIXES: Final = ("fast", "fieldnorm", "idx", "pos", "store", "term")
TRIES: Final = 20


class DamagedIndex(CognateError):
    """Files of a lexical index are missing, damaged, or of another format or language."""


def write_about(folder: Path, language: str) -> None:
    """Writes down what the terms of the index in `folder` are made by. Raises OSError."""
    write_text(folder / ABOUT, json.dumps(_about(language)))


def check_about(folder: Path, language: str) -> None:
    """Raises DamagedIndex unless the index in `folder` was made by this program for `language`."""
    try:
        found = json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError) as error:
        raise DamagedIndex(f"{folder} holds no readable lexical index ({error}); build it anew") from error
    if found != _about(language):
        raise DamagedIndex(f"{folder} holds {found}, but {_about(language)} is needed; build it anew")


def committed_bytes(folder: Path) -> int:
    """Size of the committed files of the index in `folder`; of those a merge removes meanwhile, none."""
    total = 0
    for name in _names(_segments((folder / META).read_text())):
        try:
            total += (folder / name).stat().st_size
        except FileNotFoundError:
            continue
    return total


def dead_passages(folder: Path) -> int:
    """Committed passages that are deleted but not yet merged away."""
    segments = _segments((folder / META).read_text())
    return sum(one["deletes"]["num_deleted_docs"] for one in segments if one["deletes"])


def link_committed(source: Path, target: Path, language: str) -> None:
    """Makes the new folder `target` a copy of what is committed in `source`. Raises OSError, DamagedIndex.

    Files of tantivy never change once written, so hard links do where the disk has them. The list of them
    is written last: a copy that was interrupted has none, and is refused when opened.
    """
    target.mkdir(parents=True)
    meta = _linked(source, target)
    names = _names(_segments(meta))
    for path in target.iterdir():
        if path.name not in names:
            path.unlink()
    for name in names:
        _sync(target / name)
    write_about(target, language)
    write_text(target / MANAGED, json.dumps([*names, META]))
    write_text(target / META, meta)
    sync_folder(target)


def _linked(source: Path, target: Path) -> str:
    """Links all that one state of meta.json lists; the state. A merge may replace it meanwhile."""
    for _ in range(TRIES):
        try:
            meta = (source / META).read_text()
            for name in _names(_segments(meta)):
                _link(source / name, target / name)
        except FileNotFoundError as error:
            missing = error.filename
        else:
            return meta
    raise DamagedIndex(f"The lexical index in {source} lacks {missing}; build it anew")


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _about(language: str) -> dict[str, Any]:
    return {"format": FORMAT, "language": language}


def _segments(meta: str) -> list[dict[str, Any]]:
    try:
        segments: list[dict[str, Any]] = json.loads(meta)["segments"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedIndex(f"The list of segments of a lexical index is not readable ({error})") from error
    return segments


def _names(segments: list[dict[str, Any]]) -> list[str]:
    names = []
    for segment in segments:
        stem = segment["segment_id"].replace("-", "")
        names += [f"{stem}.{suffix}" for suffix in SUFFIXES]
        if segment["deletes"]:
            names.append(f"{stem}.{segment['deletes']['opstamp']}.del")
    return names
