"""Use cases on collections: create, describe, list, delete."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.documents import check_text
from core.errors import CollectionGone, EncoderMismatch, InvalidInput
from core.filters import MAX_FIELD_BYTES
from core.index_types import IndexStats
from core.ports.indexes import IndexRegistry
from core.ports.models import Encoder
from core.ports.stores import CollectionStore
from core.types import Collection, CollectionSettings, DocumentCounts, EncoderInfo

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_ATTRIBUTES = 1_000
ATTRIBUTE_TYPES = ("keyword", "number", "bool", "date")
MIN_PASSAGE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class CollectionOverview:
    collection: Collection
    counts: DocumentCounts
    index: IndexStats


@dataclass(frozen=True, slots=True)
class CollectionService:
    """The checks raise InvalidInput for an index that cannot be built, and for an unknown language."""

    store: CollectionStore
    indexes: IndexRegistry
    encoder: Encoder
    check_index: Callable[[str, int], None]
    check_language: Callable[[str], None]

    def create(
        self, name: str, description: str, encoder: str | None, settings: CollectionSettings
    ) -> tuple[Collection, bool]:
        """The collection and whether it is new. Raises InvalidInput or Conflict."""
        check_name(name)
        check_text(description, "'description'")
        if encoder is not None and encoder != self.encoder.info.id:
            raise InvalidInput(
                f"Encoder {encoder!r} is not loaded; this server runs {self.encoder.info.id!r}."
            )
        self._check_settings(settings)
        return self.store.create(name, description, self.encoder.info, settings)

    def open(self, name: str) -> Collection:
        """The collection, if this server can search it. Raises NotFound or EncoderMismatch."""
        collection = self.store.get(name)
        check_encoder(collection, self.encoder)
        return collection

    def require(self, collection: Collection) -> None:
        """Raises NotFound when the collection was deleted, also when another has its name now."""
        if self.store.get(collection.name).uid != collection.uid:
            raise _gone(collection)

    def describe(self, name: str) -> CollectionOverview:
        return self.overview(self.store.get(name))

    def list(self) -> list[CollectionOverview]:
        return [self.overview(collection) for collection in self.store.list()]

    def delete(self, name: str) -> None:
        self.store.delete(name)

    def overview(self, collection: Collection) -> CollectionOverview:
        """With its counts, which are 0 once it is deleted."""
        return CollectionOverview(
            collection, self.store.counts(collection.id), self.indexes.stats(collection)
        )

    def _check_settings(self, settings: CollectionSettings) -> None:
        most = self.encoder.info.max_tokens
        if not MIN_PASSAGE_TOKENS <= settings.max_tokens <= most:
            raise InvalidInput(
                f"chunking.max_tokens is {settings.max_tokens}; this encoder takes {MIN_PASSAGE_TOKENS}"
                f" to {most}."
            )
        if not 0 <= settings.overlap_tokens <= settings.max_tokens // 2:
            raise InvalidInput(
                f"chunking.overlap_tokens is {settings.overlap_tokens}; it must be 0 to half of max_tokens"
                f" ({settings.max_tokens // 2})."
            )
        if len(settings.attributes) > MAX_ATTRIBUTES:
            raise InvalidInput(
                f"attributes declares {len(settings.attributes):,} fields; the limit is {MAX_ATTRIBUTES:,}."
            )
        for field, kind in settings.attributes.items():
            size = len(check_text(field, "an attribute's name"))
            if not 1 <= size <= MAX_FIELD_BYTES:
                raise InvalidInput(
                    f"An attribute's name has {size:,} bytes; it must have 1 to {MAX_FIELD_BYTES}."
                )
            check_text(kind, "an attribute's type")
            if kind not in ATTRIBUTE_TYPES:
                raise InvalidInput(
                    f"attributes.{field} is {kind!r}; known types are {', '.join(ATTRIBUTE_TYPES)}."
                )
        self.check_index(settings.index, self.encoder.info.dim)
        self.check_language(settings.language)


@contextmanager
def in_use(collection: Collection) -> Iterator[None]:
    """That the collection is deleted during the block is told with its name."""
    try:
        yield
    except CollectionGone:
        raise _gone(collection) from None


def _gone(collection: Collection) -> CollectionGone:
    return CollectionGone(
        f"collection {collection.name!r} does not exist any more: it was deleted or replaced meanwhile;"
        " create it or check the name"
    )


def check_name(name: str, what: str = "Collection") -> None:
    """Raises InvalidInput unless `name` can name a collection or classifier."""
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInput(
            f"{what} name {name[:80]!r} is not allowed: use 1 to 64 letters, digits, '-' and '_',"
            " starting with a letter or digit."
        )


def check_encoder(collection: Collection, encoder: Encoder) -> None:
    """Raises EncoderMismatch unless the collection's vectors are of this very encoder."""
    require_encoder(collection.name, collection.encoder, encoder)


def require_encoder(collection: str, theirs: EncoderInfo, encoder: Encoder) -> None:
    """Raises EncoderMismatch unless a collection whose vectors are of encoder `theirs` can be served."""
    ours = encoder.info
    if ours.fingerprint != theirs.fingerprint:
        raise EncoderMismatch(
            f"Collection {collection!r} holds vectors of encoder {theirs.id} (d={theirs.dim},"
            f" fingerprint {theirs.fingerprint[:12]}) but this server runs {ours.id} (d={ours.dim},"
            f" fingerprint {ours.fingerprint[:12]}); start the server with that encoder"
            " (COGNATE_ENCODER_PATH), or start a second one of the new encoder on an empty data folder"
            " or database, and 'cognate copy' the documents there while the old one serves."
        )
