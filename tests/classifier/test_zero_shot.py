"""Zero-shot classification by prototypes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from classifier.calibration import fit_temperature, negative_log_likelihood
from classifier.label_wordings import (
    BULK_FROM_CHARACTERS,
    KEPT_ROWS,
    PrototypeCache,
    as_words,
    make_prototypes,
    wordings_of,
)
from classifier.refinement import refined
from classifier.word_similarity import LONGEST_KEPT, WordVectors, word_similarities, words_of
from classifier.zero_shot import (
    MULTI_CHOSEN,
    NONE_SIMILARITY,
    ZeroShotScorer,
    given_of_several,
    one_of,
    several_of,
    softmax,
)
from core.label_types import TRANSDUCTIVE_TEXTS, Label, ZeroShotOptions
from core.types import Float32, Lane
from tests.fakes import FakeEncoder, word_vector

SCORER = ZeroShotScorer(FakeEncoder(), temperature=0.1)


def test_the_label_whose_words_are_nearest_wins() -> None:
    results = SCORER.classify(["a dog barked", "the cat"], [Label("cat"), Label("dog")])
    assert [result.label for result in results] == ["dog", "cat"]


def test_probabilities_add_up_to_one_and_the_score_is_the_largest() -> None:
    (result,) = SCORER.classify(["a dog"], [Label("cat"), Label("dog"), Label("cow")])
    assert sum(result.scores.values()) == pytest.approx(1, abs=1e-6)
    assert result.score == max(result.scores.values()) == result.scores[result.label]


def unit(vector: Float32) -> Float32:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def test_a_prototype_is_the_normalised_mean_of_name_phrasing_description_and_examples() -> None:
    label = Label("pet_animal", "lives with people", ("a cat", "a dog"), ("tame beast",))
    texts = ("pet animal", "tame beast", "lives with people", "a cat", "a dog")
    expected = unit(np.sum([word_vector(text) for text in texts], axis=0))
    made = make_prototypes(FakeEncoder(), [Label("x"), label], ["{}"], Lane.BULK)
    assert np.allclose(made[1], expected, atol=1e-6)


def test_a_name_in_several_templates_counts_once() -> None:
    label = Label("cat", examples=("zebra",))
    name = unit(np.sum([word_vector("cat"), word_vector("my cat")], axis=0))
    made = make_prototypes(FakeEncoder(), [label], ["{}", "my {}"], Lane.BULK)
    assert np.allclose(made[0], unit(name + word_vector("zebra")), atol=1e-6)
    assert wordings_of(label, ["{}", "my {}"]) == [["cat", "my cat"], ["zebra"]]


def test_labels_asked_for_again_are_not_encoded_again() -> None:
    encoder = CountingEncoder()
    cache = PrototypeCache(encoder)
    first = cache.prototypes([Label("cat"), Label("dog")], ["{}"], Lane.BULK)
    assert cache.prototypes([Label("cat"), Label("dog")], ["{}"], Lane.BULK) is first
    assert encoder.queries == 2
    cache.prototypes([Label("cat"), Label("dog")], ["my {}"], Lane.BULK)
    cache.prototypes([Label("cat"), Label("dog", "barks")], ["{}"], Lane.BULK)
    assert encoder.queries == 2 + 2 + 3


def test_kept_prototypes_are_bounded_and_the_oldest_go_first() -> None:
    encoder = CountingEncoder()
    cache = PrototypeCache(encoder)
    sets = [[Label(f"{i} {j}") for j in range(KEPT_ROWS // 2)] for i in range(3)]
    for labels in sets:
        cache.prototypes(labels, ["{}"], Lane.BULK)
    before = encoder.queries
    cache.prototypes(sets[2], ["{}"], Lane.BULK)
    cache.prototypes(sets[1], ["{}"], Lane.BULK)
    assert encoder.queries == before
    cache.prototypes(sets[0], ["{}"], Lane.BULK)
    assert encoder.queries > before


@pytest.mark.parametrize(("missing", "lane"), [(1, Lane.INTERACTIVE), (0, Lane.BULK)])
def test_long_wordings_of_labels_are_read_in_the_bulk_lane(missing: int, lane: Lane) -> None:
    encoder = CountingEncoder()
    names = "one", "two"
    example = "a" * (BULK_FROM_CHARACTERS - len("".join(names)) - missing)
    make_prototypes(encoder, [Label("one", examples=(example,)), Label("two")], ["{}"], Lane.INTERACTIVE)
    assert encoder.lanes == [lane]


def test_kept_prototypes_keep_no_texts() -> None:
    cache = PrototypeCache(FakeEncoder())
    example = " ".join(["a long example"] * 100)
    before = sys.getrefcount(example)
    cache.prototypes([Label("one", examples=(example,)), Label("two \ud800")], ["{}"], Lane.BULK)
    assert sys.getrefcount(example) == before


def test_vectors_of_long_words_are_not_kept() -> None:
    encoder = CountingEncoder()
    words = WordVectors(encoder)
    long, short = "x" * (LONGEST_KEPT + 1), "y" * LONGEST_KEPT
    for _ in range(2):
        words.of([long, short], Lane.BULK)
    assert encoder.queries == 3


@dataclass
class CountingEncoder(FakeEncoder):
    queries: int = 0
    lanes: list[Lane] = field(default_factory=list)

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        self.queries += len(texts)
        self.lanes.append(lane)
        return FakeEncoder.encode_queries(self, texts, lane)


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
    assert as_words(name) == words


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


def test_one_label_is_given_unless_none_may_fit_and_is_more_probable() -> None:
    labels = [Label("old cat"), Label("old dog")]
    near, far = "the old cat", "quarterly tax return"
    plain = SCORER.classify([near, far], labels)
    assert [len(result.labels) for result in plain] == [1, 1]
    assert plain[0].none is None
    asked = SCORER.classify([near, far], labels, ZeroShotOptions(none_of_these=True))
    assert [result.labels for result in asked] == [("old cat",), ()]
    for result in asked:
        assert result.none is not None
        assert sum(result.scores.values()) + result.none == pytest.approx(1, abs=1e-6)


def test_several_labels_have_probabilities_of_their_own() -> None:
    labels = [Label("a cat"), Label("a dog"), Label("tax law")]
    options = ZeroShotOptions(multi_label=True, none_of_these=True)
    both, neither = SCORER.classify(["a cat a dog", "xylophone"], labels, options)
    assert both.labels == ("a cat", "a dog")
    assert sum(both.scores.values()) > 1
    assert neither.labels == ()
    assert neither.none is not None
    assert both.none is not None
    assert neither.none > both.none


def test_of_two_labels_one_that_is_hardly_near_is_not_given() -> None:
    similarities = np.array([[0.1, 0.2], [0.1, 0.4]], np.float32)
    probabilities, _ = several_of(similarities)
    assert (probabilities > MULTI_CHOSEN).all()  # among two labels the odds are even beforehand
    assert given_of_several(similarities, probabilities).tolist() == [[False, False], [False, True]]


def test_where_none_is_likelier_than_every_label_none_is_given_if_that_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = np.array([[0.3, 0.1, 0.1]], np.float32)
    monkeypatch.setattr(ZeroShotScorer, "similarities", lambda *_: near)
    labels = [Label("a cat"), Label("a dog"), Label("tax law")]
    (plain,) = SCORER.classify(["text"], labels, ZeroShotOptions(multi_label=True))
    (asked,) = SCORER.classify(["text"], labels, ZeroShotOptions(multi_label=True, none_of_these=True))
    assert asked.none is not None
    assert asked.none > max(asked.scores.values())
    assert (plain.labels, asked.labels) == (("a cat",), ())


def test_that_no_label_fits_is_as_probable_as_that_each_does_not() -> None:
    probabilities, none = several_of(np.array([[0.3, 0.5]], np.float32))
    assert none == pytest.approx((1 - probabilities[0, 0]) * (1 - probabilities[0, 1]))
    assert one_of(np.array([[0.3, 0.5]], np.float32), 0.1, may_be_none=False)[1].tolist() == [0]


def test_the_nearest_word_of_a_text_counts_for_labels_of_one_word() -> None:
    text = ["many words of which only the last one tells anything: cat"]
    with_words = SCORER.similarities(text, [Label("cat"), Label("dog")])
    without = SCORER.similarities(text, [Label("cat"), Label("dog", "barks")])
    assert with_words[0, 0] > without[0, 0]


def test_word_similarity_is_the_greatest_of_the_words() -> None:
    prototypes = np.stack([word_vector("cat"), word_vector("dog")])
    found = word_similarities(["A cat, a DOG", "12 34"], prototypes, WordVectors(FakeEncoder()), Lane.BULK)
    assert found == pytest.approx(np.array([[1, 1], [0, 0]]), abs=1e-6)
    assert words_of("Don't stop; don't 2 Été") == ["don't", "stop", "été"]


def test_refinement_moves_labels_to_the_texts_of_a_call() -> None:
    rng = np.random.default_rng(0)
    centers = np.eye(2, 8, dtype=np.float32)
    columns = np.repeat([0, 1], 40)
    texts = centers[columns] + rng.normal(scale=0.2, size=(80, 8)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    prototypes = np.stack([unit(centers[0] + 0.8 * centers[1]), unit(centers[1] + 0.8 * centers[0])])
    before, after = texts @ prototypes.T, refined(texts, prototypes, lambda present: texts @ present.T)
    margins = [np.where(columns == 0, s[:, 0] - s[:, 1], s[:, 1] - s[:, 0]) for s in (before, after)]
    assert margins[1].mean() > 1.5 * margins[0].mean()


def test_refinement_does_not_take_labels_to_be_equally_common() -> None:
    """All texts are of one label of four: the others must not win texts for being rare."""
    rng = np.random.default_rng(0)
    center = unit(np.array([1, 0.5, 0.5, 0.5], np.float32))
    texts = center + rng.normal(scale=0.3, size=(200, 4)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    prototypes = np.eye(4, dtype=np.float32)
    right = np.mean((texts @ prototypes.T).argmax(axis=1) == 0)
    after = refined(texts, prototypes, lambda present: texts @ present.T)
    assert np.mean(after.argmax(axis=1) == 0) > right - 0.05


def test_a_few_texts_do_not_move_labels() -> None:
    prototypes = np.eye(2, 8, dtype=np.float32)
    texts = np.ones((2 * TRANSDUCTIVE_TEXTS - 1, 8), np.float32)
    before = texts @ prototypes.T
    assert refined(texts, prototypes, lambda present: texts @ present.T) == pytest.approx(before)


def test_texts_that_fit_no_label_move_none_where_there_may_be_such() -> None:
    """Half of the texts are of one kind that is none of the labels', a little nearer to the first."""
    texts = np.repeat(np.eye(3, 4, dtype=np.float32), [20, 20, 40], axis=0)
    texts[40:, 0] = 0.2
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    prototypes = np.eye(2, 4, dtype=np.float32)
    similarities = [
        refined(texts, prototypes, lambda present: texts @ present.T, may_fit_none)[40:].max()
        for may_fit_none in (False, True)
    ]
    assert similarities[0] > 0.5
    assert similarities[1] < NONE_SIMILARITY


def test_texts_are_shared_out_by_the_similarities_given() -> None:
    """What else is known of the texts than their vectors: here it says the opposite of them."""
    texts = np.repeat(np.eye(2, 8, dtype=np.float32), 40, axis=0)
    prototypes = np.eye(2, 8, dtype=np.float32)
    told = np.repeat([[0.0, 1.0], [1.0, 0.0]], 40, axis=0).astype(np.float32)
    asked: list[Float32] = []

    def similarities(present: Float32) -> Float32:
        asked.append(present)
        return told

    refined(texts, prototypes, similarities)
    assert asked[-1][0, 1] > 0.6
    assert asked[-1][1, 0] > 0.6


def test_texts_of_a_call_help_each_other_only_when_asked() -> None:
    labels = [Label("cat pet"), Label("tax law")]
    texts = ["cat fur", "fur paw", "paw cat", "tax court", "court judge", "judge tax"] * 3
    alone = SCORER.classify(["fur paw"], labels)[0].scores
    beside = SCORER.classify(texts, labels)[1].scores
    together = SCORER.classify(texts, labels, ZeroShotOptions(transductive=True))[1].scores
    assert beside["cat pet"] == pytest.approx(alone["cat pet"], abs=1e-5)
    assert together["cat pet"] > beside["cat pet"] + 0.05
