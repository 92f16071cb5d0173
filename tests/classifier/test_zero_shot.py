"""Zero-shot classification by prototypes."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.calibration import fit_temperature, negative_log_likelihood
from classifier.zero_shot import ZeroShotScorer, softmax, wordings_of
from core.types import Label
from tests.fakes import FakeEncoder, word_vector

SCORER = ZeroShotScorer(FakeEncoder(), temperature=0.1)


def test_the_label_whose_words_are_nearest_wins() -> None:
    results = SCORER.classify(["a dog barked", "the cat"], [Label("cat"), Label("dog")])
    assert [result.label for result in results] == ["dog", "cat"]


def test_probabilities_add_up_to_one_and_the_score_is_the_largest() -> None:
    (result,) = SCORER.classify(["a dog"], [Label("cat"), Label("dog"), Label("cow")])
    assert sum(result.scores.values()) == pytest.approx(1, abs=1e-6)
    assert result.score == max(result.scores.values()) == result.scores[result.label]


def test_a_prototype_is_the_normalised_mean_of_name_description_and_examples() -> None:
    label = Label("pet_animal", "lives with people", ("a cat", "a dog"))
    expected = sum(word_vector(t) for t in ("pet animal", "lives with people", "a cat", "a dog"))
    expected = np.asarray(expected) / np.linalg.norm(expected)
    assert np.allclose(SCORER.prototypes([Label("x"), label])[1], expected, atol=1e-6)


def test_examples_move_a_label() -> None:
    texts = ["zebra"]
    plain = SCORER.classify(texts, [Label("one"), Label("two")])[0]
    taught = SCORER.classify(texts, [Label("one"), Label("two", examples=("zebra",))])[0]
    assert taught.scores["two"] > plain.scores["two"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("card_arrival", "card arrival"),
        ("a-b", "a b"),
        ("PlayMusic", "Play Music"),
        ("NASA", "NASA"),
        ("_", "_"),
    ],
)
def test_label_names_are_read_as_words(name: str, words: str) -> None:
    assert wordings_of(Label(name)) == [words]


def test_softmax_takes_large_logits() -> None:
    assert softmax(np.array([[1000.0, 0.0]], dtype=np.float32)).tolist() == [[1.0, 0.0]]


def test_the_fitted_temperature_gives_back_the_one_that_made_the_labels() -> None:
    rng = np.random.default_rng(5)
    cosines = rng.uniform(-0.2, 0.9, (4000, 6)).astype(np.float32)
    probabilities = softmax(cosines / 0.08).astype(np.float64)
    labels = np.array([rng.choice(6, p=row / row.sum()) for row in probabilities])
    fitted = fit_temperature(cosines, labels)
    assert fitted == pytest.approx(0.08, rel=0.1)
    for other in (0.5 * fitted, 2 * fitted):
        assert negative_log_likelihood(cosines, labels, fitted) < negative_log_likelihood(
            cosines, labels, other
        )
