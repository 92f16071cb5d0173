"""Use case topics: what a collection is about, from its stored vectors and the words of its documents."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.collections import CollectionService
from core.errors import InvalidInput
from core.ports.indexes import IndexRegistry, IndexView
from core.ports.topics import Clusterer, DocumentTexts
from core.topic_groups import Grouped, document_vectors, group, pages
from core.topic_memory import TopicMemory
from core.topic_names import TopicNamer, Unnamed
from core.topic_places import Plane
from core.topic_terms import WordCounts
from core.topic_types import CentralDocument, MapPoint, Topic, TopicMap, TopicRequest
from core.types import Float32, Int64

DOCUMENTS_A_TOPIC: Final = 10  # k is chosen as the square root of n over this
MOST_CHOSEN: Final = 32
READ: Final = 10_000  # documents whose words are counted
NAMING: Final = 4  # central documents whose vectors are read for a name, beside the centre
READ_CHARACTERS: Final = 1_000  # of the beginning of each text
ADDRESS: Final = re.compile(r"https?://\S+|www\.\S+")  # its parts would count as words
SHOWN_CHARACTERS: Final = 200
PAGE: Final = 200  # documents whose texts, up to 1 MiB each, are read together


@dataclass(frozen=True, slots=True)
class TopicLimits:
    max_k: int = 100
    max_terms: int = 30
    max_documents: int = 20
    max_points: int = 2_000


@dataclass(frozen=True, slots=True)
class TopicService:
    """Works on the view in memory; documents' texts are read for words, names and display."""

    collections: CollectionService
    indexes: IndexRegistry
    texts: DocumentTexts
    clusterer: Clusterer
    namer: TopicNamer
    limits: TopicLimits = TopicLimits()
    memory: TopicMemory = field(default_factory=TopicMemory)

    def topics(self, name: str, request: TopicRequest) -> TopicMap:
        """At most k topics, fewer where documents do not differ so much; none of an empty collection.

        The same state of a collection gives the same topics. Raises InvalidInput, NotFound,
        EncoderMismatch, Overloaded while too many wait for topics.
        """
        self._check(request)
        collection = self.collections.open(name)
        view = self.indexes.view(collection)
        key = (collection.uid, view.seq, request.k)
        found = self.memory.get(key, lambda: self._find(collection.id, view, request.k))
        return found.cut(request.terms, request.documents, request.points)

    def _check(self, request: TopicRequest) -> None:
        limits = self.limits
        if request.k is not None and not 1 <= request.k <= limits.max_k:
            raise InvalidInput(
                f"k is {request.k}; it must be 1 to {limits.max_k}, or absent to be chosen by size."
            )
        for name, most, least in (
            ("terms", limits.max_terms, 1),
            ("documents", limits.max_documents, 0),
            ("points", limits.max_points, 0),
        ):
            if not least <= (value := getattr(request, name)) <= most:
                raise InvalidInput(f"{name} is {value}; it must be {least} to {most:,}.")

    def _find(self, collection_id: int, view: IndexView, k: int | None) -> TopicMap:
        ids = view.document_ids()
        if not len(ids):
            return TopicMap(view.seq, 0, 0, (), ())
        grouped = group(self.clusterer, view, ids, min(k or chosen_k(len(ids)), len(ids)))
        k = len(grouped.centroids)
        central = [grouped.central(one, self.limits.max_documents) for one in range(k)]
        counted = np.union1d(grouped.sampled[:READ], np.concatenate(central))
        texts, counts = self._read(collection_id, view, grouped, counted)
        terms = counts.terms(self.limits.max_terms)
        unnamed = [
            Unnamed(grouped.centroids[one], near, terms[one], counts.groups[one])
            for one, near in enumerate(_near_centres(view, grouped, central))
        ]
        names = self.namer.names(unnamed, view.shown_words)
        sizes, similarities = grouped.sizes, grouped.mean_similarities
        inside = grouped.centroids * similarities[:, None]  # a unit vector lies beyond most documents
        plane = Plane.of(inside, sizes, grouped.vectors)
        places = plane.places(inside)
        topics = tuple(
            Topic(
                names[one],
                int(sizes[one]),
                float(similarities[one]),
                terms[one],
                _documents(grouped, central[one], texts),
                places[one],
            )
            for one in range(k)
        )
        points = _points(grouped, plane, texts, self.limits.max_points)
        return TopicMap(view.seq, len(ids), len(texts), topics, points)

    def _read(
        self, collection_id: int, view: IndexView, grouped: Grouped, rows: Int64
    ) -> tuple[dict[int, CentralDocument], WordCounts]:
        """Document id -> what is shown of it, and the words of all of them by group.

        A document deleted meanwhile is left out.
        """
        counts, texts = WordCounts.of(len(grouped.centroids)), dict[int, CentralDocument]()
        for page in pages(rows, PAGE):
            found = self.texts.rows(collection_id, grouped.ids[page])
            for row in page.tolist():
                id_ = int(grouped.ids[row])
                if id_ not in found:
                    continue
                external_id, title, text = found[id_]
                words = view.shown_words(ADDRESS.sub(" ", f"{title}\n{text[:READ_CHARACTERS]}"))
                counts.add(int(grouped.groups[row]), words)
                beginning = " ".join(text[: 2 * SHOWN_CHARACTERS].split())[:SHOWN_CHARACTERS]
                texts[id_] = CentralDocument(external_id, title, beginning, float(grouped.similarities[row]))
        return texts, counts


def chosen_k(documents: int) -> int:
    """How many topics a collection of so many documents is split into unless the caller says."""
    return max(2, min(MOST_CHOSEN, round(math.sqrt(documents / DOCUMENTS_A_TOPIC))))


def _near_centres(view: IndexView, grouped: Grouped, central: Sequence[Int64]) -> list[Float32]:
    """(c, d) of each topic: its centre, and the vectors of some of its `central` documents."""
    return [
        np.concatenate([centroid[None], document_vectors(view, np.sort(grouped.ids[rows[:NAMING]]))])
        for centroid, rows in zip(grouped.centroids, central, strict=True)
    ]


def _documents(
    grouped: Grouped, rows: Int64, texts: dict[int, CentralDocument]
) -> tuple[CentralDocument, ...]:
    ids: Sequence[int] = grouped.ids[rows].tolist()
    return tuple(texts[id_] for id_ in ids if id_ in texts)


def _points(
    grouped: Grouped, plane: Plane, texts: dict[int, CentralDocument], most: int
) -> tuple[MapPoint, ...]:
    """The first documents of the sample, which is in random order."""
    rows = grouped.sampled[:most]
    places = plane.places(grouped.vectors[:most])
    return tuple(
        MapPoint(texts[id_].id, texts[id_].title, topic, place)
        for id_, topic, place in zip(
            grouped.ids[rows].tolist(), grouped.groups[rows].tolist(), places, strict=True
        )
        if id_ in texts
    )
