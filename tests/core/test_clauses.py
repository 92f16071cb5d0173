"""What may be shown of a sentence without its end: a whole clause that stays true alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clauses import _MOST_WORDS, _SPOILERS, _read, is_clause_of

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
        (
            "The cells had higher levels of the protein.",
            "In this study, we also found that the cells had higher levels of the protein.",
        ),
        ("The drug prevents attacks.", "It has been shown that the drug prevents attacks."),
        ("Anna repaired the lighthouse.", "Anna repaired the lighthouse, a white tower."),
        ("Anna repaired the lighthouse.", "Anna repaired the lighthouse, which is white."),
        ("Anna repaired the lighthouse.", "Anna repaired the lighthouse; Erik sailed home."),
        ("Anna visited the family.", "Anna visited the family."),
        ("The cat and the dog ran.", "The cat and the dog ran."),
        ("The sailors were in Italy.", "The sailors were in Italy [4]."),
        ("Anna isn't a sailor.", "Anna isn’t a sailor."),
        ("Anna isn’t a sailor.", "Anna isn't a sailor, which is a pity."),
        ("If it rains, the sea wall is closed.", "If it rains, the sea wall is closed."),
        ("The ship is a schooner.", "The ship is a schooner built in Norway."),
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
        ("The lighthouse was repaired by Anna.", "Anna repaired the lighthouse."),
        ("The virus the host.", "The virus, the host and the cell are alive."),
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
        ("Once the drug is approved.", "Once the drug is approved, it is sold."),
        ("Provided the drug is approved.", "Provided the drug is approved, it is sold."),
        ("Should the drug be a cure.", "Should the drug be a cure, it is sold."),
        (
            "Had Anna repaired the lighthouse.",
            "Had Anna repaired the lighthouse, which fell, it would stand.",
        ),
        ("Suppose the drug is a cure.", "Suppose the drug is a cure, which it may be."),
        ("The man who was a sailor.", "The man who was a sailor jumped from the bridge."),
        ("The firm that was the largest.", "The firm that was the largest failed in 1990."),
        ("The farm produces the wheat.", "The farm produces the wheat seed for Sweden."),
        ("It is a wheat.", "It is a wheat seed for Sweden."),
        ("The class is.", "The class is, which is odd, empty."),
        # what was meant is one of several, or none
        ("There is no evidence.", "There is no evidence that the vaccine is dangerous."),
        ("There are no drugs.", "There are no drugs used for the disease."),
        ("No patients had symptoms.", "No patients had symptoms that lasted a week."),
        ("The sailors never ate food.", "The sailors never ate food that was cold."),
        ("Anna was the first woman.", "Anna was the first woman who sailed round the world."),
        ("Anna was a first woman.", "Anna was a first woman who sailed round the world."),
        ("Anna is a fastest sailor.", "Anna is a fastest sailor that sailed at night."),
        ("It is the only lake.", "It is the only lake known in the country."),
        ("The court has no proof.", "The court has no proof that Anna stole it."),
        ("The drug is a cure.", "The drug is a cure that failed in every trial."),
        ("The winner was Anna.", "The winner was Anna, Erik, or Olaf."),
        ("The winner was Anna.", "The winner was Anna, a sailor, or Olaf."),
        ("The cause was stress.", "The cause was stress, smoking, or both."),
        # a condition or a doubt is gone
        ("The drug is safe.", "The drug is safe; but only for adults."),
        ("The drug is safe.", "The drug is safe -- unless it is taken with wine."),
        ("The drug is safe.", "The drug is safe – which it is not with wine."),
        ("The drug is safe.", "The drug is safe... unless it is taken with wine."),
        ("The drug is safe.", "The drug is safe (except in pregnancy)."),
        ("The drug is safe.", "The drug is safe (only for adults)."),
        ("The drug is safe.", "The drug is safe (provided that it is taken with food)."),
        ("The drug is safe.", "The drug is safe [unless taken with wine]."),
        ("The drug is safe.", "The drug is safe, especially if taken with food."),
        ("The drug is safe.", "The drug is safe, so long as it is taken with food."),
        ("The drug is safe.", "The drug is safe, its maker contends."),
        ("The drug is safe.", "The drug is safe, a claim of its maker."),
        ("The drug is safe.", "It has yet to be shown that the drug is safe."),
        ("The drug is safe.", "It remains to be shown that the drug is safe."),
        ("The drug is safe.", "It is hoped that trials have shown that the drug is safe."),
        ("The drug is safe.", "Anna dreamed they have shown that the drug is safe."),
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
        ("The wall was 10.", "The wall was 10,000 m long."),
        ("The wall was 10.", "The wall was 10 – 20 m long."),
        ("The wall was 10.", "The wall was 10-20 m long."),
        ("The ship was at sea by 10.", "The ship was at sea by 10:45."),
        ("The war was in 1914.", "The war was in 1914—1918 at sea."),
        ("The site is http.", "The site is http://x.org."),
        ("The town was founded by St.", "The town was founded by St. Olaf in 1030."),
        ("Urease produces the NH.", "Urease produces the NH(3)."),
    ],
)
def test_what_says_something_else_or_says_nothing_is_none(sentence: str, text: str) -> None:
    assert not is_clause_of(sentence, text)


def test_brackets_that_never_close_end_nothing() -> None:
    assert not is_clause_of("Anna is a sailor.", "Anna (who is a sailor.")
    assert not is_clause_of("Anna is a sailor.", "Anna is a sailor.) or so")


@given(st.sampled_from(sorted(_SPOILERS)), st.sampled_from([", which is {}", " ({})", "; {}", ": it is {}"]))
def test_nothing_is_left_out_that_may_limit_what_is_said(spoiler: str, addition: str) -> None:
    whole = f"The drug is a cure{addition.format(spoiler + ' so')}."
    assert not is_clause_of("The drug is a cure.", whole)
    assert is_clause_of("The drug is a cure.", whole.replace(spoiler, "old")) or spoiler == "?"


def test_of_a_text_that_is_no_sentence_only_the_beginning_is_read() -> None:
    text = "Anna is a sailor, " + "that a (" * 200_000
    assert not is_clause_of("Anna is a sailor.", text)
    assert len(_read(text)) == _MOST_WORDS + 1
