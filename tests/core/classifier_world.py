"""Trained classifiers on a real database, with a small encoder and a small head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.classifier_parts import ClassifierPorts, classifier_service
from core.classifier_types import LabelledText, TrainingOptions, TrainRequest
from core.classifiers import ClassifierService
from core.documents import DocumentLimits
from core.example_checks import ClassifierLimits
from core.ingest import IngestService
from core.job_types import Job, TaskKind
from core.long_jobs import LongJobRunner
from core.ports.classifiers import EncoderTuner, Heads
from core.types import Collection, CollectionSettings, Metadata
from indexer.chunking import sentence_starts
from storage.batches import SqlBatchStore
from storage.classifiers import SqlClassifierStore
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from storage.labels import SqlLabelStore
from storage.long_jobs import SqlLongJobs
from tests.core.centroid_heads import CentroidHeads
from tests.fakes import FakeEncoder, ListQueue, RecordingNotifier, WholeTextChunker

SPORTS = ("the team won the match", "a goal in the last minute", "the player scored again")
MONEY = ("the bank raised its interest", "shares fell on the market", "a loan from the bank")
MOODS = [
    *(LabelledText(text, ("sports",)) for text in SPORTS),
    *(LabelledText(text, ("money",)) for text in MONEY),
]


@dataclass
class CountingMeter:
    """Adds up what it is told."""

    versions: int = 0
    refits: int = 0
    predictions: tuple[int, int] = (0, 0)
    documents: int = 0

    def trained(self, seconds: float) -> None:
        self.versions += 1

    def refitted(self, seconds: float) -> None:
        self.refits += 1

    def predicted(self, answered: int, abstained: int) -> None:
        self.predictions = (self.predictions[0] + answered, self.predictions[1] + abstained)

    def labelled(self, documents: int) -> None:
        self.documents += documents


@dataclass
class ClassifierWorld:
    """All use cases on one database; another process is another world on the same."""

    database: Database
    heads: Heads = field(default_factory=CentroidHeads)
    encoder: FakeEncoder = field(default_factory=FakeEncoder)
    tuner: EncoderTuner | None = None
    limits: ClassifierLimits = field(default_factory=ClassifierLimits)
    is_stopping: bool = False

    def __post_init__(self) -> None:
        self.queue, self.notifier, self.meter = ListQueue(), RecordingNotifier(), CountingMeter()
        self.jobs, self.collections = SqlJobStore(self.database), SqlCollectionStore(self.database)
        self.documents, self.store = SqlDocumentStore(self.database), SqlClassifierStore(self.database)
        self.long_jobs = SqlLongJobs(self.database)
        long = LongJobRunner(self.long_jobs, self.jobs, self.queue, lambda: self.is_stopping)
        self.service: ClassifierService = classifier_service(
            ClassifierPorts(
                self.store,
                SqlLabelStore(self.database),
                self.collections,
                self.heads,
                self.encoder,
                self.tuner,
                long,
                self.notifier,
                self.meter,
                sentence_starts,
            ),
            self.limits,
        )
        self.ingest = IngestService(
            self.documents,
            SqlBatchStore(self.database),
            self.jobs,
            self.encoder,
            WholeTextChunker(),
            self.queue,
            self.notifier,
            DocumentLimits(),
            10_000,
            annotate=self.service.labelling.annotated,
        )

    def work(self) -> None:
        """Runs all that is queued."""
        run: dict[TaskKind, Callable[[str], object]] = {
            TaskKind.TRAIN: self.service.training.run,
            TaskKind.LABEL: self.service.labelling.run,
            TaskKind.INGEST_BATCH: self.ingest.run_batch,
        }
        while self.queue.tasks:
            task = self.queue.tasks.pop(0)
            run[task.kind](task.id)

    def train(
        self, name: str = "topic", examples: list[LabelledText] | None = None, **options: object
    ) -> Job:
        """Trains to the end; the job then."""
        request = TrainRequest(
            tuple(examples or MOODS),
            options=TrainingOptions(**options),  # type: ignore[arg-type]  # of a test's own
        )
        job = self.service.put(name, request)
        self.work()
        return self.jobs.get(job.id)

    def collection(self, name: str = "news") -> Collection:
        return self.collections.create(name, "", self.encoder.info, CollectionSettings())[0]

    def add(self, collection: Collection, texts: Mapping[str, str], metadata: Metadata | None = None) -> None:
        """Documents by id, made searchable."""
        items = [{"id": id_, "text": text, "metadata": metadata or {}} for id_, text in texts.items()]
        self.ingest.submit(collection, items)
        self.work()

    def label(self, text: str, name: str = "topic", number: int | None = None) -> str:
        """What a text is said to be."""
        return self.service.classify(name, [text], number=number).predictions[0].label

    def errors(self, job_id: str) -> str:
        """The reasons of a job's errors."""
        return "; ".join(error.reason for error in self.jobs.get(job_id).errors)

    def metadata(self, collection: Collection) -> dict[str, Metadata]:
        """Document id -> metadata as readers see them."""
        listed = self.documents.list(collection.id, None, 10_000, None)
        return {document.external_id: document.metadata for document in listed}
