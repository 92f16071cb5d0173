"""The use case topics, wired to this process's index and the vector reader of its encoder."""

from __future__ import annotations

from pathlib import Path

from core.collections import CollectionService
from core.errors import StartRefused
from core.ports.generation import VectorReader
from core.ports.indexes import IndexRegistry
from core.ports.models import Encoder
from core.topic_names import TopicNamer
from core.topics import TopicService
from encoder.vector_reading import VectorReaderFolder, shipped_vector_reader
from indexer.clustering import SphericalKMeans
from storage.database import Database
from storage.labels import SqlLabelStore


def make_topics(
    database: Database,
    collections: CollectionService,
    indexes: IndexRegistry,
    encoder: Encoder,
    reader_path: Path | None,
) -> TopicService:
    """Raises StartRefused for the reader of another encoder, CheckpointError for a bad folder."""
    namer = TopicNamer(encoder, open_vector_reader(encoder, reader_path))
    return TopicService(collections, indexes, SqlLabelStore(database), SphericalKMeans(), namer)


def open_vector_reader(encoder: Encoder, path: Path | None) -> VectorReader | None:
    """The reader at `path`, else the shipped one if it reads this encoder's vectors."""
    reader = VectorReaderFolder(path or shipped_vector_reader())
    if reader.info.encoder_fingerprint == encoder.info.fingerprint:
        return reader
    if path is not None:
        raise StartRefused(
            f"The vector reader {path} was trained for another encoder than {encoder.info.id!r}, which this"
            " server runs; train one with 'cognate train vector-reader --start', or leave"
            " COGNATE_VECTOR_READER_PATH empty."
        )
    return None
