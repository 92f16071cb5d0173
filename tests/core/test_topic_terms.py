"""Class-based TF-IDF on counts that can be checked by hand."""

from __future__ import annotations

import math

import pytest

from core.topic_terms import WordCounts, name_of


def counted(*groups: str) -> WordCounts:
    """Stems are lower case and lose a final s."""
    counts = WordCounts.of(len(groups))
    for group, text in enumerate(groups):
        counts.add(group, [(word.lower().rstrip("s"), word) for word in text.split()])
    return counts


def test_weights_are_those_of_the_formula() -> None:
    cats, dogs = counted("cat cat purr", "dog dog dog cat bark").terms(10)
    mean = (3 + 5) / 2
    assert {term.text: term.weight for term in cats} == {
        "cat": pytest.approx(2 / 3 * math.log(1 + mean / 3)),
        "purr": pytest.approx(1 / 3 * math.log(1 + mean / 1)),
    }
    assert [term.text for term in dogs] == ["dog", "bark"]
    weights = [3 / 5 * math.log(1 + mean / 3), 1 / 5 * math.log(1 + mean / 1)]
    assert [term.weight for term in dogs] == pytest.approx(weights)


def test_words_that_are_as_frequent_elsewhere_are_left_out() -> None:
    cats, dogs = counted("pet pet cat cat", "pet pet dog dog").terms(10)
    assert ([term.text for term in cats], [term.text for term in dogs]) == (["cat"], ["dog"])


def test_one_group_alone_is_told_by_its_most_frequent_words() -> None:
    (terms,) = counted("cat cat pet").terms(10)
    assert [term.text for term in terms] == ["cat", "pet"]


def test_a_word_is_counted_in_all_its_forms_and_shown_in_the_most_frequent() -> None:
    (terms,) = counted("Cat cats cats cat cats").terms(10)
    assert [term.text for term in terms] == ["cats"]


def test_equal_words_are_in_a_fixed_order_and_numbers_are_no_terms() -> None:
    (terms,) = counted("pear 2024 apple 7 fig").terms(2)
    assert name_of(terms) == "apple, fig"


def test_a_group_without_words_has_no_terms() -> None:
    assert counted("", "cat").terms(5)[0] == ()
    assert name_of(()) == ""
