"""Training examples out of a collection: searchable documents that have a value in a metadata field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.classifier_types import CollectedExamples, CollectionSource, EncodedExamples, LabelledText
from core.collections import check_encoder
from core.errors import InvalidInput
from core.example_checks import ClassifierLimits, check_one
from core.filters import MAX_FIELD_BYTES
from core.ports.classifiers import LabelStore
from core.ports.models import Encoder
from core.ports.stores import CollectionStore
from core.types import Collection, Float32

PAGE: Final = 1000  # documents


@dataclass(frozen=True, slots=True)
class LabelledDocuments:
    """Reads examples with their stored vectors, so that nothing is encoded."""

    labels: LabelStore
    collections: CollectionStore
    encoder: Encoder
    limits: ClassifierLimits

    def check(self, source: CollectionSource) -> None:
        """Raises NotFound, EncoderMismatch, InvalidInput, also where no document has a label in the field."""
        collection = self._collection(source)
        if not self.labels.labelled(collection.id, source.label_field, 0, 1)[0]:
            raise self._without_labels(collection.id, source)

    def take(
        self, source: CollectionSource, multi_label: bool | None, going: Callable[[int], None]
    ) -> tuple[CollectedExamples, tuple[str, ...]]:
        """The collection's labelled documents as examples, and their problems.

        Nothing is stored. With `multi_label` true a document of an empty list is one that no label fits. Of
        documents with the same text the first is taken; if their labels differ, none.
        Raises NotFound, EncoderMismatch, InvalidInput when there are none, too many, or a label is too long.
        """
        collection = self._collection(source)
        found = _Found(multi_label)
        after = 0
        while True:
            texts, vectors = self.labels.labelled(
                collection.id, source.label_field, after, PAGE, with_none=True
            )
            if not texts:
                break
            for (text, values), vector in zip(texts, vectors.vectors, strict=True):
                self._check_labels(values, source)
                found.add(LabelledText(text, values), vector)
            after = int(vectors.ids[-1])
            going(0)
            self._check_count(len(found.first), source)
        if not found.first:
            raise self._without_labels(collection.id, source)
        kept, problems = found.kept(), found.problems(source.label_field)
        if not kept:
            raise InvalidInput(f"There is no example left: {' '.join(problems)}")
        # Rounded as they will be stored, so that feedback goes on from what the head was trained on.
        stacked = np.stack([vector for _, vector in kept]).astype(np.float16).astype(np.float32)
        encoded = EncodedExamples(tuple(example for example, _ in kept), stacked)
        return CollectedExamples(source, encoded), problems

    def _collection(self, source: CollectionSource) -> Collection:
        check_one(source.label_field, "from_collection.label_field", MAX_FIELD_BYTES)
        collection = self.collections.get(source.collection)
        check_encoder(collection, self.encoder)
        return collection

    def _without_labels(self, collection_id: int, source: CollectionSource) -> InvalidInput:
        name, where = source.label_field, f"of collection {source.collection!r}"
        if self.labels.has_annotations(collection_id, name):
            return InvalidInput(
                f"What documents {where} have in metadata field {name!r} was written by a classifier; a"
                " training takes only labels out of metadata that were sent. Name a field of these."
            )
        return InvalidInput(
            f"No searchable document {where} has a label in metadata field {name!r}; name the field that"
            " holds the labels."
        )

    def _check_labels(self, labels: Sequence[str], source: CollectionSource) -> None:
        for label in labels:
            check_one(label, f"a label in metadata field {source.label_field!r}", self.limits.max_label_bytes)

    def _check_count(self, found: int, source: CollectionSource) -> None:
        if found > self.limits.max_examples:
            raise InvalidInput(
                f"Collection {source.collection!r} has more than {self.limits.max_examples:,} documents with"
                f" a label in {source.label_field!r}, the most that a classifier takes."
            )


@dataclass(slots=True)
class _Found:
    """The first document of each text, and what of the others is told."""

    multi_label: bool | None
    first: dict[str, tuple[LabelledText, Float32]] = field(default_factory=dict)
    contradicted: set[str] = field(default_factory=set)
    documents: Counter[str] = field(default_factory=Counter)  # of each text
    without: int = 0

    def add(self, example: LabelledText, vector: Float32) -> None:
        if not example.labels and not self.multi_label:
            self.without += 1
            return
        self.documents[example.text] += 1
        before = self.first.setdefault(example.text, (example, vector))[0]
        if set(before.labels) != set(example.labels):
            self.contradicted.add(example.text)

    def kept(self) -> list[tuple[LabelledText, Float32]]:
        return [one for text, one in self.first.items() if text not in self.contradicted]

    def problems(self, label_field: str) -> tuple[str, ...]:
        problems = []
        if self.contradicted:
            problems.append(
                f"{len(self.contradicted):,} texts stand in several documents with different labels; they"
                " were left out."
            )
        if repeated := sum(self.documents[example.text] - 1 for example, _ in self.kept()):
            problems.append(f"{repeated:,} documents repeat the text of another; each text counts once.")
        if self.without:
            problems.append(
                f"{self.without:,} documents have an empty list in {label_field!r}; they were left out. With"
                " multi_label true they are examples that no label fits."
            )
        return tuple(problems)
