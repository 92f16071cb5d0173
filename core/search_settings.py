"""The ways to search that tuning chooses among, and what each of them finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from core.candidates import Candidates
from core.fusion import RRF_K, FusedHit, Fusion, fuse
from core.index_types import IndexHit
from core.search_defaults import fusion_of
from core.types import SearchDefaults

COARSE_WEIGHTS = (0.2, 0.5, 0.8)
REWRITTEN_DEPTH = 200  # hits of each wording that are fused
WEIGHTS = tuple(round(0.1 * i, 1) for i in range(1, 10))  # 0 and 1 are the modes lexical and dense


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to search; `fusion` belongs to mode hybrid alone. `is_rewritten`: in several wordings."""

    mode: str
    fusion: Fusion | None = None
    is_rewritten: bool = False


def settings_with(present: Setting, with_rewrites: bool = False) -> tuple[Setting, ...]:
    """All that are tried, the present one among them; with rewrites some of them in several wordings too."""
    grid = (
        Setting("dense"),
        Setting("lexical"),
        *(Setting("hybrid", Fusion("convex", weight)) for weight in WEIGHTS),
        Setting("hybrid", Fusion("rrf")),
    )
    if with_rewrites:
        plain = replace(present, is_rewritten=False)
        rewritten = dict.fromkeys(one for one in (plain, *grid) if one == plain or _is_coarse(one))
        grid = (*grid, *(replace(one, is_rewritten=True) for one in rewritten))
    return grid if present in grid else (present, *grid)


def _is_coarse(setting: Setting) -> bool:
    """Whether it is one of the few tried with rewrites, which cost several searches each."""
    fusion = setting.fusion
    return fusion is None or fusion.method != "convex" or fusion.dense_weight in COARSE_WEIGHTS


def setting_of(search: SearchDefaults, default_mode: str) -> Setting:
    """How the collection is searched when a request does not say."""
    mode = search.mode or default_mode
    return Setting(mode, fusion_of(search) if mode == "hybrid" else None, bool(search.rewrite))


def applied(setting: Setting, search: SearchDefaults) -> SearchDefaults:
    """The collection's defaults with this setting; reranking stays as it is."""
    fusion, rewrite = setting.fusion, setting.is_rewritten or None
    if fusion is None:
        return SearchDefaults(setting.mode, rerank=search.rerank, rewrite=rewrite)
    weight = fusion.dense_weight if fusion.method == "convex" else None
    return SearchDefaults(setting.mode, fusion.method, weight, search.rerank, rewrite)


def found_by(wordings: Sequence[Candidates], setting: Setting, k: int) -> list[str]:
    """External ids of the first k documents that this setting finds, best first; the query is first of the
    wordings, and the only one that counts unless the setting is rewritten."""
    if not setting.is_rewritten:
        return ranked(wordings[0], setting, k)
    scores: dict[str, float] = {}
    for candidates in wordings:
        for rank, name in enumerate(ranked(candidates, setting, REWRITTEN_DEPTH), start=1):
            scores[name] = scores.get(name, 0.0) + 1 / (RRF_K + rank)
    return sorted(scores, key=lambda name: -scores[name])[:k]


def ranked(candidates: Candidates, setting: Setting, k: int) -> list[str]:
    """External ids of the first k documents that one wording finds, best first."""
    hits: Sequence[IndexHit | FusedHit]
    if setting.fusion is not None:
        hits = fuse(candidates.dense, candidates.lexical, setting.fusion)
    else:
        hits = (candidates.dense if setting.mode == "dense" else candidates.lexical).ranked
    names = (candidates.external_ids.get(hit.document_id) for hit in hits)
    return list(islice((name for name in names if name is not None), k))
