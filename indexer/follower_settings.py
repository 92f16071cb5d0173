"""How often the follower looks, gathers and saves."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.collection_index import RECALL_TARGET


@dataclass(frozen=True, slots=True)
class FollowerSettings:
    """Times in seconds. A snapshot needs `snapshot_min_changes` documents changed since the last one.

    After a page of `bulk_from` documents or more the next changes are gathered for `gather_s`, unless
    somebody waits for them: a page costs the same however little is in it.
    """

    poll_interval_s: float = 1.0
    gather_s: float = 0.5
    bulk_from: int = 64
    page_limit: int = 1_000
    snapshot_interval_s: float = 60.0
    snapshot_min_changes: int = 1
    build_threads: int = 1
    recall_target: float = RECALL_TARGET
    stop_timeout_s: float = 30.0
