"""Heads trained on the examples of one call."""

from __future__ import annotations

import pytest

from classifier.few_shot import FewShotScorer
from core.label_types import Label
from tests.fakes import FakeEncoder

LABELS = [
    Label("animals", examples=("cat dog paw", "horse tail fur", "dog fur cat")),
    Label("money", examples=("bank cash loan", "stock price bank", "cash price")),
]


def test_examples_decide_with_probabilities() -> None:
    results = FewShotScorer(FakeEncoder()).classify(["cat fur", "loan price"], LABELS)
    assert [result.label for result in results] == ["animals", "money"]
    for result in results:
        assert sum(result.scores.values()) == pytest.approx(1, abs=1e-5)
        assert result.score == max(result.scores.values())
        assert result.labels == (result.label,)


def test_the_name_of_a_label_is_one_of_its_examples() -> None:
    labels = [Label("cardArrival", examples=("where is it",)), Label("lost_pin", examples=("I forgot it",))]
    results = FewShotScorer(FakeEncoder()).classify(["card arrival", "lost pin"], labels)
    assert [result.label for result in results] == ["cardArrival", "lost_pin"]


def test_the_same_examples_are_encoded_and_trained_on_once() -> None:
    encoder = FakeEncoder()
    scorer = FewShotScorer(encoder)
    first = scorer.classify(["cat"], LABELS)
    encoder.encoded.clear()
    assert scorer.classify(["cat"], LABELS) == first
    assert encoder.encoded == ["cat"]
    scorer.classify(["cat"], [*LABELS, Label("food", examples=("soup",))])
    assert "soup" in encoder.encoded


def test_only_the_last_sets_of_examples_are_kept() -> None:
    encoder = FakeEncoder()
    scorer = FewShotScorer(encoder)
    for i in range(20):
        scorer.classify(["x"], [Label("one", examples=(f"first {i}",)), Label("other", examples=("second",))])
    encoder.encoded.clear()
    scorer.classify(["x"], [Label("one", examples=("first 19",)), Label("other", examples=("second",))])
    assert encoder.encoded == ["x"]
    scorer.classify(["x"], [Label("one", examples=("first 0",)), Label("other", examples=("second",))])
    assert "first 0" in encoder.encoded


def test_a_text_that_is_cut_says_so() -> None:
    short, long = FewShotScorer(FakeEncoder()).classify(["cat", "cat " * 400], LABELS)
    assert (short.is_truncated, long.is_truncated) == (False, True)
