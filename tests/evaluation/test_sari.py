"""SARI against the values of its authors' program, and by hand."""

from __future__ import annotations

import pytest

from evaluation.sari import corpus_sari

SOURCE = "About 95 species are currently accepted ."
PEOPLE = [
    "About 95 species are currently known .",
    "About 95 species are now accepted .",
    "95 species are now accepted .",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("About 95 you now get in .", 26.82782411698074),
        ("About 95 species are now agreed .", 58.89995423074248),
        ("About 95 species are currently agreed .", 50.71608864657479),
    ],
)
def test_the_authors_own_examples_have_the_values_of_their_program(text: str, expected: float) -> None:
    assert corpus_sari([SOURCE], [text], [PEOPLE]) == pytest.approx(expected)


def test_a_copy_earns_only_for_what_it_keeps() -> None:
    # Of "a b c d" people keep two of four words: precision 1/2, recall 1; of pairs "a b"; nothing longer.
    kept = (2 / 3 + 2 * (1 / 3) / (1 / 3 + 1) + 0 + 0) / 4
    assert corpus_sari(["a b c d"], ["a b c d"], [["a b"]]) == pytest.approx(100 * kept / 3)


def test_what_people_wrote_is_better_than_a_copy_and_a_text_of_nothing() -> None:
    def score(text: str) -> float:
        return corpus_sari([SOURCE], [text], [PEOPLE[1:2]])

    assert score(PEOPLE[1]) > score(SOURCE) > 0
    assert score(PEOPLE[1]) > score("")


def test_the_mean_is_over_texts_and_neither_case_nor_glued_marks_count() -> None:
    one = corpus_sari([SOURCE], ["About 95 you now get in ."], [PEOPLE])
    two = corpus_sari([SOURCE, "x"], ["about 95 you NOW get in.", "x"], [PEOPLE, ["y"]])
    assert two == pytest.approx(one / 2)
