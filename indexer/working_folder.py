"""The folder of the files that indexes keep while they are served."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from indexer.snapshot_files import write_text

logger = logging.getLogger(__name__)

PROBE_BYTES = 1 << 20


def working_folder(preferred: Path) -> Path:
    """`preferred`, emptied of what a killed process left; another one if its disk is full.

    Indexes are served from there, so that a full disk costs snapshots but no searches. Raises OSError.
    """
    shutil.rmtree(preferred, ignore_errors=True)
    try:
        preferred.mkdir(parents=True)
        write_text(preferred / "probe", " " * PROBE_BYTES)
    except OSError as error:
        other = Path(tempfile.mkdtemp(prefix="cognate-indexes-"))
        logger.error("working_folder_refused", extra={"reason": str(error), "path": str(other)})
        return other
    return preferred
