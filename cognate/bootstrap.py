"""The one composition root: settings in, running services out."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client.registry import Collector, CollectorRegistry

from classifier.few_shot import FewShotScorer
from classifier.zero_shot import ZeroShotScorer
from cognate.classifying import expect_feedback, open_tuner
from cognate.collectors import EncoderCollector, GaugesCollector, IndexCollector, ProgressCollector
from cognate.embedded import EmbeddedBackground
from cognate.generating import generator_of, make_generating
from cognate.grouping import make_topics
from cognate.ingestion import Background, Ingestion, Meters, Stores, make_ingestion
from cognate.locks import exclusive_database, exclusive_folder
from cognate.measuring import make_measuring
from cognate.metrics import ClassifierMetrics, IngestMetrics, new_registry
from cognate.readiness import checks, warnings
from cognate.settings import Settings
from core.classify import ClassifyLimits, ClassifyService
from core.collections import CollectionService, check_encoder
from core.deletion import DeletionService
from core.embed import EmbedLimits, EmbedService
from core.errors import StartRefused
from core.explain import ExplainService
from core.explain_label import LabelExplainService
from core.generating import GeneratorSource
from core.memory import bound_heaps
from core.ports.models import Encoder, PartsEncoder, PassageEncoder, Reranker, TokenEncoder
from core.query_vectors import RememberingEncoder
from core.rerank import BiEncoderReranker, RerankLimits, RerankService
from core.rewritten_search import RewritingSearch
from core.search import SearchService
from core.search_request import SearchLimits
from core.services import Services
from encoder.engine import EngineStats
from encoder.reranker import load_reranker
from encoder.service import EncoderService, load_encoder
from indexer.chunking import sentence_starts
from indexer.factory import check_index_kind
from indexer.follower import IndexFollower
from indexer.follower_settings import FollowerSettings
from indexer.lexical_analyzer import check_language
from migrations.upgrade import check, upgrade
from storage.change_log import SqlChangeLog
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.progress_state import SqlProgressState
from storage.uploads import BACKUPS, UPLOADS, FsspecUploadStore, Purpose, local_uploads, open_uploads

log = logging.getLogger(__name__)

MAX_SHOTS = 2500  # examples of a call that trains on them, as at Cohere

# Python's own 5 ms are as long as a search, which waits so long whenever ingest has the interpreter.
THREAD_SWITCH_S = 0.0005
# A search makes thousands of objects that are gone at its end; Python would look at them after every 700.
GARBAGE_THRESHOLDS = (20_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in the data folder."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def database(self) -> Path:
        return self.root / "cognate.db"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def backups(self) -> Path:
        return self.root / "backups"


def database_url(settings: Settings) -> str:
    """The configured URL, or SQLite in the data folder."""
    return settings.database_url or f"sqlite:///{Layout(settings.data_dir.resolve()).database}"


def open_stores(settings: Settings) -> Stores:
    """Where the settings keep files. Raises StartRefused."""
    layout = Layout(settings.data_dir.resolve())

    def opened(url: str, folder: Path, purpose: Purpose) -> FsspecUploadStore:
        return open_uploads(url, purpose) if url else local_uploads(folder, purpose)

    return Stores(
        opened(settings.upload_url, layout.uploads, UPLOADS),
        opened(settings.backup_url, layout.backups, BACKUPS),
    )


class RunningEncoder(PassageEncoder, TokenEncoder, PartsEncoder, Protocol):
    """An encoder with counters, to be closed at the end."""

    def stats(self) -> EngineStats: ...

    def close(self) -> None: ...


def upgrade_schema(settings: Settings) -> None:
    """Brings the database to this version's schema. Raises SchemaMismatch or StartRefused."""
    with ExitStack() as stack:
        if not settings.database_url:
            layout = Layout(settings.data_dir.resolve())
            make_folders(layout)
            stack.enter_context(exclusive_folder(layout.root, layout.lock))
        stack.enter_context(exclusive_database(database_url(settings)))
        upgrade(database_url(settings))


@contextmanager
def open_runtime(
    settings: Settings, encoder: RunningEncoder | None = None, generator: GeneratorSource | None = None
) -> Iterator[Services]:
    """Running services on the data folder; stopped in order at the end.

    Raises StartRefused, SchemaMismatch or EncoderMismatch, each saying what to do. A given `encoder`
    stays the caller's to close. Without a `generator` that of the settings is loaded when it is first used.
    """
    layout = Layout(settings.data_dir.resolve())
    with ExitStack() as stack:
        bound_heaps()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        sys.setswitchinterval(THREAD_SWITCH_S)
        make_folders(layout)
        stack.enter_context(exclusive_folder(layout.root, layout.lock))
        stack.enter_context(exclusive_database(database_url(settings)))
        prepare_schema(settings)
        database = Database(database_url(settings))
        stack.callback(database.close)
        if encoder is None:
            encoder = load_encoder_of(settings)
            stack.callback(encoder.close)
        yield _assemble(_ground(settings, layout, database, encoder, stack), stack, generator)


def _background(settings: Settings, database: Database, stack: ExitStack) -> Background:
    if not settings.redis_url:
        return EmbeddedBackground(settings.ingest_workers)
    from cognate.production import RedisBackground  # Celery is for those who use it

    return RedisBackground(settings, database, stack)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all use cases stand on."""

    settings: Settings
    database: Database
    encoder: RunningEncoder
    collections: SqlCollectionStore
    documents: SqlDocumentStore
    background: Background
    indexes: IndexFollower
    registry: CollectorRegistry
    meters: Meters
    stores: Stores


def _ground(
    settings: Settings, layout: Layout, database: Database, encoder: RunningEncoder, stack: ExitStack
) -> _Ground:
    collections = SqlCollectionStore(database)
    refuse_other_encoders(collections, encoder)
    background = _background(settings, database, stack)
    registry = new_registry()
    meter = IngestMetrics(registry)
    following = FollowerSettings(
        snapshot_interval_s=settings.snapshot_every_s, recall_target=settings.recall_target
    )
    indexes = IndexFollower(
        SqlChangeLog(database), collections, background.notifier, layout.snapshots, following, meter
    )
    for collector in _collectors(database, background, indexes, encoder):
        registry.register(collector)
    return _Ground(
        settings,
        database,
        encoder,
        collections,
        SqlDocumentStore(database),
        background,
        indexes,
        registry,
        Meters(meter, ClassifierMetrics(registry)),
        open_stores(settings),
    )


def _start(ground: _Ground, ingestion: Ingestion, stack: ExitStack) -> None:
    """Indexes first: what works in the background publishes to them."""
    ground.indexes.start()
    stack.callback(ground.indexes.stop)
    ground.background.start(ground.settings, ground.database, ingestion, stack)


def _assemble(ground: _Ground, stack: ExitStack, generator: GeneratorSource | None) -> Services:
    settings, encoder, notifier = ground.settings, ground.encoder, ground.background.notifier
    indexes, documents = ground.indexes, ground.documents
    reranking = RerankService(_reranker(settings, encoder, stack), RerankLimits())
    tuner = open_tuner(settings, encoder, stack)
    ingestion = make_ingestion(
        settings, ground.stores, ground.database, encoder, ground.background, ground.meters, tuner, indexes
    )
    expect_feedback(ingestion.classifiers, stack)
    _start(ground, ingestion, stack)
    collections = CollectionService(ground.collections, indexes, encoder, check_index_kind, check_language)
    explain = ExplainService(encoder, documents, sentence_starts)
    queries = RememberingEncoder(encoder)
    search = SearchService(collections, queries, indexes, documents, explain, reranking, SearchLimits())
    generator = generator or generator_of(settings, encoder, stack)
    generating = make_generating(settings, encoder, ground.registry, generator)
    rewrites = generating.query_rewrites
    measuring = make_measuring(ground.database, ground.collections, collections, search, notifier, rewrites)
    classify = ClassifyService(ZeroShotScorer(encoder, settings.zero_shot_temperature), ClassifyLimits())
    return Services(
        collections=collections,
        ingest=ingestion.ingest,
        deletion=DeletionService(documents, indexes, notifier),
        imports=ingestion.imports,
        search=RewritingSearch(search, rewrites),
        defaults=measuring.defaults,
        judgements=measuring.judgements,
        quality=measuring.quality,
        tune=measuring.tune,
        classify=classify,
        few_shot=ClassifyService(FewShotScorer(encoder), ClassifyLimits(max_examples=MAX_SHOTS)),
        classifiers=ingestion.classifiers,
        embed=EmbedService(encoder, EmbedLimits()),
        rerank=reranking,
        explain=explain,
        topics=make_topics(ground.database, collections, indexes, encoder, settings.vector_reader_path),
        explain_label=LabelExplainService(ingestion.classifiers, classify, explain),
        reasons=generating.reasons,
        rewrite=generating.rewrite,
        generation=generating.generation,
        documents=documents,
        jobs=ingestion.ingest.jobs,
        indexes=indexes,
        encoder=encoder,
        uploads=ground.stores.uploads,
        backups=ingestion.backups,
        checks=lambda: checks(ground.collections, encoder),
        warnings=lambda: warnings(indexes, ingestion.classifiers, encoder, generating.generation),
        metrics=ground.registry,
    )


def prepare_schema(settings: Settings) -> None:
    """Upgrades a database of our own; a shared one is upgraded on purpose, by `cognate db upgrade`."""
    if settings.database_url:
        check(settings.database_url)
    else:
        upgrade(database_url(settings))


def load_encoder_of(settings: Settings) -> EncoderService:
    return load_encoder(
        settings.encoder_path,
        backend=settings.backend.value,
        precision=settings.precision.value,
        threads=settings.threads,
    )


def _reranker(settings: Settings, encoder: RunningEncoder, stack: ExitStack) -> Reranker:
    """The cross-encoder of the settings, without one the encoder itself."""
    if settings.reranker_path is None:
        return BiEncoderReranker(encoder, encoder.at_once)
    reranker = load_reranker(
        settings.reranker_path, settings.backend.value, settings.precision.value, settings.threads
    )
    stack.callback(reranker.close)
    return reranker


def refuse_other_encoders(collections: SqlCollectionStore, encoder: Encoder) -> None:
    for collection in collections.list():
        check_encoder(collection, encoder)


def make_folders(layout: Layout) -> None:
    try:
        for folder in (layout.root, layout.snapshots):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartRefused(
            f"The data folder {layout.root} cannot be used: {error.strerror}."
            " Name another with COGNATE_DATA_DIR."
        ) from None


def _collectors(
    database: Database, background: Background, indexes: IndexFollower, encoder: RunningEncoder
) -> tuple[Collector, ...]:
    return (
        ProgressCollector(SqlProgressState(database).read),
        GaugesCollector(background.gauges),
        IndexCollector(indexes.lag, indexes.recall, indexes.refused_snapshots),
        EncoderCollector(encoder.stats),
    )
