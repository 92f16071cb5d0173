"""Use case suggest: the documents of a collection whose labels would help a classifier most."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.active_heads import ActiveHeads
from core.classifier_types import DocumentVectors, SuggestedRow, Suggestion
from core.collections import check_encoder
from core.errors import Conflict, InvalidInput
from core.example_checks import ClassifierLimits
from core.example_memory import ExampleMemory
from core.ports.classifiers import Heads, LabelStore
from core.ports.models import Encoder
from core.ports.stores import CollectionStore
from core.types import Float64

PAGE: Final = 5000  # documents
MOST_DOCUMENTS: Final = 50_000  # of a larger collection a sample is looked at
SPARE: Final = 2  # times as many are chosen, because examples may be among them
MORE: Final = 4  # times as many where most of them were: vectors of documents hold their titles too


@dataclass(frozen=True, slots=True)
class SuggestionService:
    """Works on stored vectors; nothing is encoded."""

    active: ActiveHeads
    memory: ExampleMemory
    labels: LabelStore
    heads: Heads
    collections: CollectionStore
    encoder: Encoder
    limits: ClassifierLimits

    def suggest(self, name: str, collection: str, k: int) -> list[Suggestion]:
        """At most k documents that are no examples, most helpful first.

        Raises NotFound, InvalidInput, Conflict, EncoderMismatch.
        """
        if not 1 <= k <= self.limits.max_suggestions:
            raise InvalidInput(f"k is {k}; it must be 1 to {self.limits.max_suggestions:,}.")
        served = self.active.get(name)
        if served.adapters is not None:
            raise Conflict(
                f"Version {served.version.number} of classifier {name!r} was fine-tuned and reads vectors of"
                " its own, not those stored with documents; activate a version without fine_tune."
            )
        target = self.collections.get(collection)
        check_encoder(target, self.encoder)
        documents = self._documents(target.id)
        if not len(documents.ids):
            return []
        known = self.memory.load(served.space)
        examples = {example.text for example in known.stored}
        wanted = SPARE * k
        while True:
            chosen = self.heads.suggest(served.head, documents, known.vectors, wanted)
            suggestions, passed = self._suggestions(target.id, documents, chosen, examples)
            if len(suggestions) >= k or len(chosen) < wanted:
                return suggestions[:k]
            documents = _without(documents, passed)
            wanted = min(MORE * wanted, SPARE * self.limits.max_suggestions)

    def _suggestions(
        self,
        collection_id: int,
        documents: DocumentVectors,
        chosen: Sequence[SuggestedRow],
        examples: Set[str],
    ) -> tuple[list[Suggestion], list[int]]:
        """Those of the chosen that are no examples, and the rows of the others."""
        rows = self.labels.rows(collection_id, documents.ids[[one.row for one in chosen]])
        suggestions, passed = [], []
        for one in chosen:
            found = rows.get(int(documents.ids[one.row]))  # None: deleted meanwhile
            if found is None or found[2] in examples:
                passed.append(one.row)
                continue
            external_id, title, text = found
            of_label = (one.label, one.probability, one.uncertainty, one.density, one.score)
            suggestions.append(Suggestion(external_id, title, text, *of_label))
        return suggestions, passed

    def _documents(self, collection_id: int) -> DocumentVectors:
        """All searchable documents, or a random sample of so many."""
        nothing = DocumentVectors(
            np.empty(0, np.int64), np.empty((0, self.encoder.info.dim), np.float32), np.empty(0, np.int64)
        )
        pages, keys, after = [nothing], np.empty(0), 0
        random = np.random.default_rng(0)
        while len((page := self.labels.document_vectors(collection_id, after, PAGE)).ids):
            after = int(page.ids[-1])
            pages.append(page)
            keys = np.concatenate([keys, random.random(len(page.ids))])
            if len(keys) > MOST_DOCUMENTS + PAGE:
                keys, pages = _sample(keys, pages)
        return _sample(keys, pages)[1][0]


def _sample(keys: Float64, pages: Sequence[DocumentVectors]) -> tuple[Float64, list[DocumentVectors]]:
    """The documents of the smallest keys, in order: a sample without repetition."""
    kept = np.sort(np.argsort(keys, kind="stable")[:MOST_DOCUMENTS])
    ids = np.concatenate([page.ids for page in pages])[kept]
    vectors = np.concatenate([page.vectors for page in pages])[kept]
    passages = np.concatenate([page.passages for page in pages])[kept]
    return keys[kept], [DocumentVectors(ids, vectors, passages)]


def _without(documents: DocumentVectors, rows: Sequence[int]) -> DocumentVectors:
    kept = np.ones(len(documents.ids), np.bool_)
    kept[list(rows)] = False
    return DocumentVectors(documents.ids[kept], documents.vectors[kept], documents.passages[kept])
