"""All use cases of one running process, as its entry points receive them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.backup import BackupService
from core.classifiers import ClassifierService
from core.classify import ClassifyService
from core.collections import CollectionService
from core.deletion import DeletionService
from core.embed import EmbedService
from core.explain import ExplainService
from core.explain_label import LabelExplainService
from core.generating import GenerationService
from core.imports import ImportService
from core.ingest import IngestService
from core.judgements import JudgementService
from core.metering import MetricSource
from core.ports.indexes import IndexRegistry
from core.ports.models import Encoder
from core.ports.stores import DocumentStore, JobStore
from core.ports.work import UploadStore
from core.quality import QualityService
from core.reasons import ReasonService
from core.rerank import RerankService
from core.rewrite import RewriteService
from core.rewritten_search import RewritingSearch
from core.search_defaults import SearchDefaultsService
from core.topics import TopicService
from core.tune import TuneService


@dataclass(frozen=True, slots=True)
class Services:
    """`classify` is zero-shot, `few_shot` learns from the examples of its call.

    `checks` tells what is not ready and why (empty = ready), `warnings` what is worse than it should be;
    `metrics` are all but HTTP's.
    """

    collections: CollectionService
    ingest: IngestService
    deletion: DeletionService
    imports: ImportService
    search: RewritingSearch
    defaults: SearchDefaultsService
    judgements: JudgementService
    quality: QualityService
    tune: TuneService
    classify: ClassifyService
    few_shot: ClassifyService
    classifiers: ClassifierService
    embed: EmbedService
    rerank: RerankService
    explain: ExplainService
    topics: TopicService
    explain_label: LabelExplainService
    reasons: ReasonService
    rewrite: RewriteService
    generation: GenerationService
    documents: DocumentStore
    jobs: JobStore
    indexes: IndexRegistry
    encoder: Encoder
    uploads: UploadStore
    backups: BackupService
    checks: Callable[[], Mapping[str, str]]
    warnings: Callable[[], Mapping[str, str]]
    metrics: MetricSource
