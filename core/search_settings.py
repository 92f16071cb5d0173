"""The ways to search that tuning chooses among, and what each of them finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from core.candidates import Candidates
from core.fusion import FusedHit, Fusion, fuse
from core.search_defaults import fusion_of
from core.types import IndexHit, SearchDefaults

WEIGHTS = tuple(round(0.1 * i, 1) for i in range(1, 10))  # 0 and 1 are the modes lexical and dense


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to search; `fusion` belongs to mode hybrid alone."""

    mode: str
    fusion: Fusion | None = None


def settings_with(present: Setting) -> tuple[Setting, ...]:
    """All that are tried, the present one among them."""
    grid = (
        Setting("dense"),
        Setting("lexical"),
        *(Setting("hybrid", Fusion("convex", weight)) for weight in WEIGHTS),
        Setting("hybrid", Fusion("rrf")),
    )
    return grid if present in grid else (present, *grid)


def setting_of(search: SearchDefaults, default_mode: str) -> Setting:
    """How the collection is searched when a request does not say."""
    mode = search.mode or default_mode
    return Setting(mode, fusion_of(search) if mode == "hybrid" else None)


def applied(setting: Setting, search: SearchDefaults) -> SearchDefaults:
    """The collection's defaults with this setting; reranking stays as it is."""
    fusion = setting.fusion
    if fusion is None:
        return SearchDefaults(setting.mode, rerank=search.rerank)
    weight = fusion.dense_weight if fusion.method == "convex" else None
    return SearchDefaults(setting.mode, fusion.method, weight, search.rerank)


def ranked(candidates: Candidates, setting: Setting, k: int) -> list[str]:
    """External ids of the first k documents that this setting finds, best first."""
    hits: Sequence[IndexHit | FusedHit]
    if setting.fusion is not None:
        hits = fuse(candidates.dense, candidates.lexical, setting.fusion)
    else:
        hits = (candidates.dense if setting.mode == "dense" else candidates.lexical).ranked
    names = (candidates.external_ids.get(hit.document_id) for hit in hits)
    return list(islice((name for name in names if name is not None), k))
