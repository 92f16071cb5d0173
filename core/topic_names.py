"""What a topic is called: its distinctive words, or what a vector reader writes, where that verifies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import CheckpointError
from core.generation_types import Generated
from core.ports.generation import VectorReader
from core.ports.models import Encoder
from core.topic_terms import name_of
from core.topic_types import NameKind, Term, TopicName
from core.types import Float32, Lane, PassageText

log = logging.getLogger(__name__)

MAX_TOKENS: Final = 16  # of a name that is written
NAMELESS: Final = "(no words)"
# Least cosine of a written name's embedding to the centre of its topic; measured, see docs/topics.md.
LEAST_SIMILARITY: Final = 0.5
# Least mean log probability of its tokens: below it what is read is seldom near what it was read from.
LEAST_SCORE: Final = -1.0

Words = Callable[[str], list[tuple[str, str]]]  # (stem, word as written) of each word worth showing


@dataclass(frozen=True, slots=True, eq=False)
class Unnamed:
    """A topic to be named: its centre (d,), its words, and the `stems` of all words of its documents.

    A reader is given `vectors` (c, d): the centre, and some documents near it, because a mean of many
    vectors is the vector of no text.
    """

    centroid: Float32
    vectors: Float32
    terms: tuple[Term, ...]
    stems: Collection[str]


@dataclass(frozen=True, slots=True)
class TopicNamer:
    """Encodes only where there is a reader, and then some short texts a topic, in the bulk lane."""

    encoder: Encoder
    reader: VectorReader | None = None
    least_similarity: float = LEAST_SIMILARITY

    def names(self, topics: Sequence[Unnamed], words_of: Words) -> list[TopicName]:
        """One a topic, in their order.

        A written name is shown only if the reader is sure of it, each of its words occurs once in it and also
        in the documents of the topic, and its embedding is near enough to the centre, and nearer than that of
        the terms. Of several the nearest is.
        """
        by_terms = [name_of(topic.terms) or NAMELESS for topic in topics]
        if self.reader is None or not topics:
            return [TopicName(name, NameKind.TERMS) for name in by_terms]
        written = self._written(self.reader, topics, words_of)
        names = []
        for topic, terms, others in zip(topics, by_terms, written, strict=True):
            texts = [terms, *others]
            near = self._similarities(texts, topic.centroid)
            best = int(np.argmax(near))  # the terms, if none is nearer
            if best and near[best] >= self.least_similarity:
                names.append(TopicName(texts[best], NameKind.GENERATED, near[best]))
            else:
                names.append(TopicName(terms, NameKind.TERMS, near[0]))
        return names

    def _written(self, reader: VectorReader, topics: Sequence[Unnamed], words_of: Words) -> list[list[str]]:
        """What is read for each topic, without repetitions and what its documents do not bear out.

        Nothing by a reader that cannot be used; the log says why.
        """
        try:
            read = reader.read(np.concatenate([topic.vectors for topic in topics]), MAX_TOKENS)
        except CheckpointError as error:
            log.error("The vector reader cannot be used: %s", error)
            return [[] for _ in topics]
        ends = np.cumsum([len(topic.vectors) for topic in topics])[:-1]
        of_topics = [[read[row] for row in rows] for rows in np.split(np.arange(len(read)), ends)]
        return [
            _borne_out(some, topic.stems, words_of) for topic, some in zip(topics, of_topics, strict=True)
        ]

    def _similarities(self, texts: Sequence[str], centroid: Float32) -> list[float]:
        vectors = self.encoder.encode_passages([PassageText("", text) for text in texts], Lane.BULK)
        return [float(score) for score in vectors @ centroid]


def _borne_out(read: Sequence[Generated], stems: Collection[str], words_of: Words) -> list[str]:
    """The distinct texts that the reader is sure of, and that are words of the documents, each once."""
    texts = dict.fromkeys(" ".join(one.text.split()) for one in read if one.score >= LEAST_SCORE)
    words = {text: [stem for stem, _ in words_of(text)] for text in texts}
    return [
        text
        for text, ones in words.items()
        if ones and len(set(ones)) == len(ones) and all(one in stems for one in ones)
    ]
