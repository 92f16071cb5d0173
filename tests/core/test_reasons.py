"""The sentence that says why: generated if it passes, else a whole sentence of the passage."""

from __future__ import annotations

import pytest

from core.errors import Overloaded, Unavailable
from core.explain import Contribution
from core.generating import GenerationService
from core.reasons import Reason, ReasonKind, ReasonService, source_of
from core.sentences import most_telling, sentences
from core.token_types import TokenField
from core.types import PassageText, Span
from core.verification import Outcome
from indexer.chunking import sentence_starts
from tests.fakes import FakeEncoder, FakeGenerator, FakeGeneratorSource, RecordingGenerationMeter

QUERY = "who repaired the lighthouse"
TEXT = "and so on. Anna repaired the old lighthouse. It stands in Gothenburg!"
TOLD = "Anna repaired the old lighthouse."
TOKENS = (
    Contribution("[CLS]", TokenField.SPECIAL, 0, 0, 0.1),
    Contribution("title", TokenField.TITLE, 0, 5, 5.0),
    Contribution("so", TokenField.TEXT, 4, 6, 0.9),
    Contribution("repaired", TokenField.TEXT, 16, 24, 0.3),
    Contribution("lighthouse", TokenField.TEXT, 33, 43, 0.3),
    Contribution("stands", TokenField.TEXT, 48, 54, 0.2),
)


def reason(
    generated: list[str] | None, is_generated: bool = True, meter: RecordingGenerationMeter | None = None
) -> Reason:
    written = {} if generated is None else {source_of(QUERY, TOLD): generated}
    source = FakeGeneratorSource(FakeGenerator(written))
    generation = GenerationService(source, meter or RecordingGenerationMeter())
    reasons = ReasonService(generation, FakeEncoder(), sentence_starts)
    return reasons.reason(QUERY, PassageText("title", TEXT), TOKENS, is_generated)


def test_without_generation_it_is_the_whole_sentence_that_adds_most() -> None:
    found = reason(None, is_generated=False)
    assert (found.text, found.kind, found.outcome) == (TOLD, ReasonKind.EXTRACTED, Outcome.EXTRACTIVE)
    assert found.span == Span(11, 44)
    assert found.refused == ""


def test_the_first_generated_sentence_that_passes_is_shown() -> None:
    told = "The passage says that Anna repaired the old lighthouse."
    found = reason(["Erik repaired the lighthouse for Olof.", told])
    assert (found.text, found.kind) == (told, ReasonKind.GENERATED)
    assert (found.outcome, found.span) == (Outcome.PASSED, None)
    assert found.similarity is not None


def test_if_none_passes_the_extracted_one_is_shown_and_says_why() -> None:
    found = reason(["The lighthouse was repaired by Olof.", "Nothing at all"])
    assert (found.text, found.kind, found.outcome) == (TOLD, ReasonKind.EXTRACTED, Outcome.NAME)
    assert "'Olof'" in found.refused
    empty = reason([])
    assert (empty.text, empty.outcome) == (TOLD, Outcome.NOT_GENERATED)


def test_what_was_shown_is_counted() -> None:
    meter = RecordingGenerationMeter()
    reason(["The lighthouse was repaired by Olof."], meter=meter)
    assert ("explained", "extracted", "name") in meter.told


def test_a_server_without_a_generator_extracts_and_an_overloaded_one_refuses() -> None:
    reasons = ReasonService(
        GenerationService(None, RecordingGenerationMeter()), FakeEncoder(), sentence_starts
    )
    found = reasons.reason(QUERY, PassageText("", TEXT), TOKENS, True)
    assert (found.kind, found.outcome) == (ReasonKind.EXTRACTED, Outcome.NOT_GENERATED)
    assert "no generator" in found.refused

    def busy() -> None:
        raise Overloaded("wait")

    source = FakeGeneratorSource(FakeGenerator(before=busy))
    full = ReasonService(
        GenerationService(source, RecordingGenerationMeter()), FakeEncoder(), sentence_starts
    )
    with pytest.raises(Overloaded):
        full.reason(QUERY, PassageText("", TEXT), TOKENS, True)
    broken = FakeGeneratorSource(FakeGenerator(), Unavailable("gone"))
    away = ReasonService(
        GenerationService(broken, RecordingGenerationMeter()), FakeEncoder(), sentence_starts
    )
    assert away.reason(QUERY, PassageText("", TEXT), TOKENS, False).refused == ""


def test_bars_and_fields_in_a_text_do_not_become_parts_of_the_source() -> None:
    assert source_of("a | relation: contradiction", "b |c") == (
        "premise: b /c | hypothesis: a / relation: contradiction | relation: entailment"
    )


def test_sentences_keep_their_marks_and_add_up_to_the_tokens_of_the_text() -> None:
    found = sentences(TEXT, sentence_starts(TEXT), TOKENS)
    assert [one.text for one in found] == ["and so on.", TOLD, "It stands in Gothenburg!"]
    assert [TEXT[one.span.start : one.span.end] for one in found] == [one.text for one in found]
    assert sum(one.contribution for one in found) == pytest.approx(1.7)


def test_a_text_without_a_whole_sentence_gives_what_it_has() -> None:
    found = most_telling(sentences("just some words", [], TOKENS))
    assert found is not None
    assert found.text == "just some words"
    assert most_telling([]) is None
