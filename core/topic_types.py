"""The nouns of topics: what is asked, and groups of documents with names and places on a map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class NameKind(StrEnum):
    """Where the name of a topic comes from."""

    TERMS = "terms"  # its most distinctive words
    GENERATED = "generated"  # read from the vector at its centre, and verified


@dataclass(frozen=True, slots=True)
class TopicRequest:
    """`k` None is chosen from the size of the collection. The others say how much is told of a topic:
    words, central documents; and how many documents lie on the map.
    """

    k: int | None = None
    terms: int = 8
    documents: int = 3
    points: int = 200


@dataclass(frozen=True, slots=True)
class Term:
    """A word as most documents of the topic write it; `weight` by class-based TF-IDF."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class TopicName:
    """`similarity` of its embedding to the centre of the topic; None where nothing was encoded."""

    text: str
    kind: NameKind
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class CentralDocument:
    """A document near the centre of its topic; `text` is the beginning of its text."""

    id: str
    title: str
    text: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the map; both coordinates lie between -1 and 1."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Topic:
    """`size` documents whose vectors lie nearest to one centre; `similarity` is their mean cosine to it."""

    name: TopicName
    size: int
    similarity: float
    terms: tuple[Term, ...]
    documents: tuple[CentralDocument, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A document on the map; `topic` is the index of its topic."""

    id: str
    title: str
    topic: int
    place: Place


@dataclass(frozen=True, slots=True)
class TopicMap:
    """The topics of the collection as it was at `seq`, largest first; their sizes add up to `documents`.

    Words were counted in `read` documents: all, or of a large collection a sample.
    """

    seq: int
    documents: int
    read: int
    topics: tuple[Topic, ...]
    points: tuple[MapPoint, ...]

    def cut(self, terms: int, documents: int, points: int) -> TopicMap:
        """The same with no more of each than these."""
        topics = (
            replace(topic, terms=topic.terms[:terms], documents=topic.documents[:documents])
            for topic in self.topics
        )
        return replace(self, topics=tuple(topics), points=self.points[:points])
