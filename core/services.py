"""All use cases of one running process, as its entry points receive them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.backup import BackupService
from core.classify import ClassifyService
from core.collections import CollectionService
from core.embed import EmbedService
from core.explain import ExplainService
from core.imports import ImportService
from core.ingest import IngestService
from core.metering import MetricSource
from core.ports import DocumentStore, Encoder, IndexRegistry, JobStore, UploadStore
from core.search import SearchService


@dataclass(frozen=True, slots=True)
class Services:
    """`checks` tells what is not ready and why (empty = ready); `metrics` are all but HTTP's."""

    collections: CollectionService
    ingest: IngestService
    imports: ImportService
    search: SearchService
    classify: ClassifyService
    embed: EmbedService
    explain: ExplainService
    documents: DocumentStore
    jobs: JobStore
    indexes: IndexRegistry
    encoder: Encoder
    uploads: UploadStore
    backups: BackupService
    checks: Callable[[], Mapping[str, str]]
    metrics: MetricSource
