"""A generated sentence is shown only if what it says is in the texts, as far as that can be told."""

from __future__ import annotations

import pytest

from core.generation_types import FinishReason, Generated
from core.telling_words import phrases, support
from core.verification import Outcome, check, check_words
from tests.fakes import FakeEncoder

QUERY = "Who repaired the old lighthouse?"
PASSAGE = 'In 1893 Anna Lindqvist repaired the old lighthouse with "borrowed tools" and 3 helpers.'
TEXTS = [QUERY, PASSAGE]


def sentence(text: str, finish: FinishReason = FinishReason.STOP) -> Generated:
    return Generated(text, -0.1, finish, len(text.split()))


@pytest.mark.parametrize(
    "text",
    [
        "The old lighthouse was repaired by Anna Lindqvist.",
        "In 1893 Anna Lindqvist repaired the lighthouse.",
        'The passage says that Anna Lindqvist repaired the lighthouse with "borrowed tools".',
        "Anna Lindqvist repairs the lighthouse.",
    ],
)
def test_words_that_the_texts_say_pass(text: str) -> None:
    assert check_words(sentence(text), TEXTS).is_passed


def test_a_clause_of_the_passage_passes_and_its_words_in_another_order_do_not() -> None:
    texts = ["Who repaired it?", "Anna repaired the old lighthouse, including its lamps."]
    found = check(
        [
            sentence("Anna repaired the old lighthouse."),
            sentence("The old lighthouse repaired Anna."),
            sentence("Anna is an old lighthouse."),
        ],
        texts,
        FakeEncoder(),
    )
    assert [one.outcome for one in found] == [Outcome.PASSED, Outcome.CLAUSE, Outcome.CLAUSE]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("The old lighthouse was repaired by Erik Lindqvist.", Outcome.NAME),
        ("Erik and Anna Lindqvist repaired the old lighthouse.", Outcome.NAME),
        ("Repainting the old lighthouse, Anna Lindqvist had 3 helpers.", Outcome.NAME),
        ("Anna Lindqvist repaired the old lightness.", Outcome.SUPPORT),
        ("The old lighthouse was repaired in 1894.", Outcome.NUMBER),
        ("Four helpers and Anna Lindqvist repaired the old lighthouse.", Outcome.NUMBER),
        ('Anna Lindqvist repaired "the tall tower" of the lighthouse.', Outcome.QUOTE),
        ("Anna Lindqvist did not repair the old lighthouse.", Outcome.DENIAL),
        ("The old lighthouse wasn't repaired by Anna Lindqvist.", Outcome.DENIAL),
        ("Sailors need bright lamps when ships pass rocks, so the lighthouse matters.", Outcome.NAME),
        ("Anna Lindqvist repaired repaired the old lighthouse.", Outcome.STUTTER),
        ("Anna Lindqvist repaired the old lighthouse and", Outcome.NO_SENTENCE),
        ("Lighthouse.", Outcome.NO_SENTENCE),
        ("The old lighthouse was repaired by Anna (Lindqvist.", Outcome.NO_SENTENCE),
        ("", Outcome.NO_SENTENCE),
        ("Who repaired the old lighthouse?", Outcome.NO_SENTENCE),
        ("Was the old lighthouse repaired by Anna Lindqvist?", Outcome.NO_SENTENCE),
        ("The old lighthouse was repaired.", Outcome.NO_SENTENCE),
        ("the old lighthouse was repaired by Anna Lindqvist.", Outcome.NO_SENTENCE),
        ("The old lighthouse \ufffd was repaired by Anna Lindqvist.", Outcome.NO_SENTENCE),
        ("The old lighthouse was a type of helper.", Outcome.SUPPORT),
        ("Helpers borrowed Anna, and tools old Lindqvist.", Outcome.PHRASES),
    ],
)
def test_what_they_do_not_say_fails_with_its_reason(text: str, outcome: Outcome) -> None:
    verdict = check([sentence(text)], TEXTS, FakeEncoder())[0]
    assert (verdict.outcome, bool(verdict.detail)) == (outcome, True)


def test_a_new_ending_that_makes_no_word_is_strange() -> None:
    texts = ["Who repaired it?", "Anna Lindqvist repaired the qxlights."]
    verdict = check([sentence("Anna Lindqvist repaired the qxlighted.")], texts, FakeEncoder())[0]
    assert verdict.outcome is Outcome.STRANGE_WORD


def test_a_sentence_that_was_cut_off_is_none() -> None:
    text = "The old lighthouse was repaired by Anna Lindqvist."
    assert check_words(sentence(text, FinishReason.LENGTH), TEXTS).outcome is Outcome.NO_SENTENCE


def test_a_denial_passes_where_the_texts_deny() -> None:
    texts = ["Was the lighthouse repaired?", "The old lighthouse was never repaired."]
    assert check_words(sentence("The lighthouse was not repaired."), texts).is_passed


@pytest.mark.parametrize(
    ("passage", "opposite", "good"),
    [
        (
            "Aspirin does not prevent attacks.",
            "Aspirin prevents attacks.",
            "Aspirin may not prevent attacks.",
        ),
        ("Nobody repaired the light.", "The light was repaired.", "The light was repaired by nobody."),
        (
            "Aspirin does not prevent attacks, but aspirin lowers fever.",
            "Aspirin prevents attacks, but lowers fever.",
            "Aspirin lowers fever.",
        ),
    ],
)
def test_what_the_passage_denies_fails_and_what_it_says_beside_passes(
    passage: str, opposite: str, good: str
) -> None:
    texts = ["what helps?", passage]
    assert check_words(sentence(opposite), texts).outcome is Outcome.DENIAL
    assert check_words(sentence(good), texts).is_passed


def test_a_query_that_denies_asks_for_no_denial() -> None:
    texts = ["Why are raw eggs not safe?", "Raw eggs may carry germs."]
    assert check_words(sentence("Raw eggs carry germs."), texts).is_passed


@pytest.mark.parametrize(
    ("passage", "wrong", "outcome", "right"),
    [
        (
            "Australia has the largest desert.",
            "Austria has the largest desert.",
            Outcome.NAME,
            "The largest desert is what Australia has.",
        ),
        (
            "Transcription of the gene is blocked by the protein.",
            "Transmission of the gene is blocked by the protein.",
            Outcome.NAME,
            "Proteins block the transcription of genes.",
        ),
        (
            "The contract was signed by both parties.",
            "The contrary was signed by both parties.",
            Outcome.SUPPORT,
            "Both parties sign contracts.",
        ),
        (
            "The vaccine protected children.",
            "The vacation protected children.",
            Outcome.SUPPORT,
            "Vaccination protects children.",
        ),
    ],
)
def test_a_word_of_the_same_beginning_is_another_but_a_form_is_none(
    passage: str, wrong: str, outcome: Outcome, right: str
) -> None:
    texts = ["what happened?", passage]
    assert check_words(sentence(wrong), texts).outcome is outcome
    assert check_words(sentence(right), texts).is_passed


def test_a_sentence_about_something_else_fails_by_its_similarity() -> None:
    texts = ["cat", f"The cat was a dog, including {' '.join(f'word{i}' for i in range(200))}."]
    verdict = check([sentence("The cat was a dog.")], texts, FakeEncoder())[0]
    assert verdict.outcome is Outcome.SIMILARITY
    assert verdict.similarity is not None
    assert verdict.similarity < 0.5


def test_verdicts_are_in_the_order_of_the_sentences() -> None:
    texts = [QUERY, "Anna repaired the old lighthouse."]
    both = [
        sentence("The lighthouse was repaired by Erik."),
        sentence("The passage says that Anna repaired the old lighthouse."),
    ]
    assert [one.outcome for one in check(both, texts, FakeEncoder())] == [Outcome.NAME, Outcome.PASSED]


def test_support_counts_the_words_that_say_something_whatever_their_ending() -> None:
    assert support("She was repairing lighthouses.", TEXTS) == 1.0
    assert support("The of and.", TEXTS) == 0.0


def test_telling_words_must_stand_together_as_in_the_texts() -> None:
    texts = [
        "causes of heart disease",
        "A doctor asks about pain. Heart disease has many causes, and pain is one.",
    ]
    assert check_words(sentence("A doctor is heart disease."), texts).outcome is Outcome.PHRASES
    assert phrases("A doctor is heart disease.", texts) == 0.5
    assert phrases("Many ask about disease.", texts) == 0.0
    assert check_words(sentence("Heart disease has many causes."), texts).is_passed
    assert phrases("Pain.", texts) == 1.0
