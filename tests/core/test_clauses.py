"""What may be shown of a sentence without its end: a whole clause that stays true alone."""

from __future__ import annotations

import pytest

from core.clauses import is_clause_of

MELANOMA = "Lentigo maligna melanoma (LMM) is a type of skin cancer that usually develops in older adults."


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("Lentigo maligna melanoma is a type of skin cancer.", MELANOMA),
        ("The passage says that lentigo maligna melanoma is a type of skin cancer.", MELANOMA),
        ("Lentigo maligna melanoma (LMM) is a type of skin cancer.", MELANOMA),
        (
            "Taeniasis is a parasitic infection.",
            "Taeniasis (in humans) is a parasitic infection caused by the tapeworm.",
        ),
        ("The drug prevents attacks.", "Thus, the drug prevents attacks."),
        (
            "The cells had higher levels of the protein.",
            "We show that the cells had higher levels of the protein.",
        ),
        ("Anna repaired the lighthouse.", "Anna repaired the lighthouse, a white tower."),
        ("The lighthouse was repaired by Anna.", "Anna repaired the lighthouse, a white tower."),
        ("There are three kinds of plans.", "There are three kinds of plans: HMO, PPO and POS."),
        ("The sea wall was 1,000 m long.", "The sea wall was 1,000 m long."),
    ],
)
def test_a_clause_of_the_text_is_one(sentence: str, text: str) -> None:
    assert is_clause_of(sentence, text)


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        # put together anew
        ("Super-mkdir is a leaf directory.", "Super-mkdir; create a leaf directory and all between."),
        ("A class is a thread of control.", "A class that represents a thread of control."),
        ("The lighthouse repaired Anna.", "Anna repaired the lighthouse."),
        ("The lighthouse was repaired by Anna.", "Erik repaired the lighthouse, and Anna was there."),
        # no verb, no main clause, no end
        ("Genetic changes in the gene.", "Genetic changes (mutations) in the gene cause cherubism."),
        ("When two carriers have children.", "When two carriers have children, each may be affected."),
        ("It is a widely.", "It is a widely used tool."),
        ("The syndrome is.", "The syndrome is caused by changes in a gene."),
        ("The syndrome is often.", "The syndrome is often caused by changes in a gene."),
        ("This is a rare.", "This is a rare inherited disorder."),
        ("This is a computer.", "This is a computer program."),
        ("", "This is a computer program."),
        (".", "."),
        # a condition or a doubt is gone
        ("The drug is safe.", "The drug is safe, unless it is taken with wine."),
        ("The drug is safe.", "The drug is safe for adults."),
        ("The drug is safe.", "It is unknown whether the drug is safe."),
        ("The drug is safe.", "We propose that the drug is safe."),
        ("The drug is safe.", "We could not show that the drug is safe."),
        ("The drug is safe.", "We wanted to show that the drug is safe."),
        ("The drug is safe.", "If taken in time, the drug is safe."),
        ("The drug is a cure.", "The drug is a cure, some say."),
        ("The drug is a cure.", "The drug is a cure, according to its maker."),
        ("The drug is a cure.", "The drug is a cure? No, it is not."),
        ("The drug is a cure.", "The drug is a cure: a common myth."),
        ("The drug is a cure.", '"The drug is a cure" is a common myth.'),
        ("The drug is a cure.", "Perhaps, the drug is a cure."),
        ("The earth is a disc.", "Some people wrongly find that the earth is a disc."),
        ("The earth is a disc.", "It was reported that the earth is a disc."),
        ("The study showed the effect.", "The study showed the effect (in no patient)."),
        ("All birds are animals.", "Not all birds are animals."),
        # parts of numbers and of what is written without a space
        ("The wall was 1.", "The wall was 1,000 m long."),
        ("Urease produces the NH.", "Urease produces the NH(3)."),
    ],
)
def test_what_says_something_else_or_says_nothing_is_none(sentence: str, text: str) -> None:
    assert not is_clause_of(sentence, text)


def test_brackets_that_never_close_end_nothing() -> None:
    assert not is_clause_of("Anna is a sailor.", "Anna (who is a sailor.")
    assert is_clause_of("Anna is a sailor.", "Anna is a sailor.) or so")


def test_a_text_that_is_no_sentence_is_not_searched() -> None:
    assert not is_clause_of("Anna is a sailor.", "Anna is a sailor, " + "that a (" * 200_000)
