"""Which names are shown: written ones only where they verify."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np
import pytest

from core.errors import CheckpointError
from core.generation_types import FinishReason, Generated, VectorReaderInfo
from core.topic_names import LEAST_SCORE, TopicNamer, Unnamed
from core.topic_types import NameKind, Term, TopicName
from core.types import Float32
from tests.fakes import FakeEncoder, word_vector

TERMS = (Term("harbour", 0.3), Term("ship", 0.2), Term("rope", 0.1))
READER_INFO = VectorReaderInfo("fixed", "a" * 64, "f" * 64, 16, None, None, None)
STEMS = {"harbour", "ship", "rope", "busy", "old"}


@dataclass
class FixedReader:
    """Writes one of its texts after the other."""

    texts: tuple[str, ...]
    score: float = -0.5
    info: VectorReaderInfo = READER_INFO

    def read(self, vectors: Float32, max_new_tokens: int) -> list[Generated]:
        texts = itertools.islice(itertools.cycle(self.texts), len(vectors))
        return [Generated(text, self.score, FinishReason.STOP, 3) for text in texts]


def words_of(text: str) -> list[tuple[str, str]]:
    return [(word.lower(), word) for word in re.findall(r"\w{2,}", text)]


def name(written: str | tuple[str, ...], centre: str) -> TopicName:
    reader = FixedReader(written if isinstance(written, tuple) else (written,))
    namer = TopicNamer(FakeEncoder(), reader, least_similarity=0.5)
    return namer.names([topic(centre)], words_of)[0]


def topic(centre: str) -> Unnamed:
    centroid = word_vector(centre)
    return Unnamed(centroid, np.stack([centroid, word_vector("rope")]), TERMS, STEMS)


def test_without_a_reader_a_name_is_its_terms_and_nothing_is_encoded() -> None:
    namer = TopicNamer(encoder := FakeEncoder())
    (found,) = namer.names([topic("ship")], words_of)
    assert found == TopicName("harbour, ship, rope", NameKind.TERMS, None)
    assert encoder.encoded == []


def test_a_damaged_reader_leaves_the_terms(caplog: pytest.LogCaptureFixture) -> None:
    class Damaged(FixedReader):
        def read(self, vectors: Float32, max_new_tokens: int) -> list[Generated]:
            raise CheckpointError("weights are damaged")

    (found,) = TopicNamer(FakeEncoder(), Damaged(())).names([topic("ship")], words_of)
    assert (found.text, found.kind) == ("harbour, ship, rope", NameKind.TERMS)
    assert "weights are damaged" in caplog.text


def test_a_written_name_nearer_than_the_terms_is_shown_with_its_similarity() -> None:
    found = name("Busy old  harbour", "busy old harbour")
    assert (found.text, found.kind) == ("Busy old harbour", NameKind.GENERATED)
    assert found.similarity is not None
    assert found.similarity > 0.99


def test_a_written_name_further_than_the_terms_is_not_shown() -> None:
    assert name("busy old", "harbour ship rope").kind is NameKind.TERMS


def test_a_written_name_below_the_threshold_is_not_shown() -> None:
    centre = "busy a1 a2 a3 a4 a5 a6 a7 a8 a9 b1 b2 b3"
    found = name("busy", centre)
    assert found.kind is NameKind.TERMS
    assert found.similarity is not None


def test_a_written_name_with_a_word_that_no_document_has_is_not_shown() -> None:
    assert name("busy harbour airport", "busy harbour airport").kind is NameKind.TERMS


def test_a_written_name_without_words_is_not_shown() -> None:
    assert name("", "").kind is NameKind.TERMS
    assert name("?!", "?!").kind is NameKind.TERMS


def test_a_written_name_that_says_a_word_twice_is_not_shown() -> None:
    assert name("busy old harbour", "busy old harbour").kind is NameKind.GENERATED
    assert name("busy old harbour harbour", "busy old harbour harbour").kind is NameKind.TERMS


def test_a_name_that_the_reader_is_not_sure_of_is_not_shown() -> None:
    centre = "busy old harbour"
    kinds = [
        TopicNamer(FakeEncoder(), FixedReader((centre,), score)).names([topic(centre)], words_of)[0].kind
        for score in (LEAST_SCORE, LEAST_SCORE - 0.01)
    ]
    assert kinds == [NameKind.GENERATED, NameKind.TERMS]


def test_of_several_written_names_the_nearest_is_shown() -> None:
    assert name(("old harbour", "busy old harbour"), "busy old harbour").text == "busy old harbour"
    assert name(("busy old harbour", "old harbour"), "busy old harbour").text == "busy old harbour"


def test_names_stand_in_the_order_of_their_topics() -> None:
    reader = FixedReader(("ship", "ship", "rope", "rope"))
    first, second = TopicNamer(FakeEncoder(), reader).names([topic("ship"), topic("rope")], words_of)
    assert (first.text, second.text) == ("ship", "rope")


def test_no_topics_have_no_names() -> None:
    assert TopicNamer(FakeEncoder(), FixedReader(("ship",))).names([], words_of) == []
