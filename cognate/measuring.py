"""The use cases that measure and tune searching, wired to the search that users get."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.collections import CollectionService
from core.judged_search import BulkEncoder, JudgedSearch
from core.judgements import JudgementLimits, JudgementService
from core.ports.stores import CollectionStore
from core.ports.work import Notifier
from core.quality import QualityLimits, QualityService
from core.query_rewrites import QueryRewriter
from core.rewritten_search import RewritingSearch
from core.search import SearchService
from core.search_defaults import SearchDefaultsService
from core.search_request import MODES
from core.tune import TuneLimits, TuneService
from evaluation.scorer import IrScorer
from storage.database import Database
from storage.judgements import SqlJudgementStore


@dataclass(frozen=True, slots=True)
class Measuring:
    judgements: JudgementService
    quality: QualityService
    tune: TuneService
    defaults: SearchDefaultsService


def make_measuring(
    database: Database,
    store: CollectionStore,
    collections: CollectionService,
    search: SearchService,
    notifier: Notifier,
    rewriter: QueryRewriter,
) -> Measuring:
    """All of it on one process's search, whose judged queries wait in the bulk lane."""
    judgements = SqlJudgementStore(database)
    of_bulk = RewritingSearch(replace(search, encoder=BulkEncoder(search.encoder)), rewriter)
    judged = JudgedSearch(collections, judgements, of_bulk, search.indexes, IrScorer(), MODES, rewriter)
    defaults = SearchDefaultsService(collections, store, notifier, MODES)
    return Measuring(
        JudgementService(collections, judgements, JudgementLimits()),
        QualityService(judged, QualityLimits()),
        TuneService(judged, defaults, TuneLimits()),
        defaults,
    )
