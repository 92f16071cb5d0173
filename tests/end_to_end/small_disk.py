"""`cognate serve` whose data folder is on a disk without room while a file exists: FULL_MARKER arguments…

The refusal is the system's own: files are opened at /dev/full instead, all but the index, so that a snapshot
is left half written.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cognate.cli import main
from indexer import snapshot_files
from indexer.snapshot import Layout


def install(marker: Path) -> None:
    def opened(path: Path, mode: str) -> Any:
        is_on_it = path.is_relative_to(os.environ["COGNATE_DATA_DIR"])
        is_refused = is_on_it and "r" not in mode and path.name != Layout.MAIN and marker.exists()
        return open("/dev/full", "wb") if is_refused else open(path, mode)

    vars(snapshot_files)["open"] = opened


if __name__ == "__main__":
    install(Path(sys.argv.pop(1)))
    main()
