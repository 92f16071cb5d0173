"""Predictions of trained classifiers, and the evidence for them."""

from __future__ import annotations

import pytest

from core.classifier_types import Abstention, LabelledText
from core.errors import InvalidInput, NotFound, Unavailable
from core.types import PassageText
from storage.classifiers import SqlClassifierStore
from storage.database import Database
from tests.core.classifier_world import MOODS, SPORTS, ClassifierWorld
from tests.fakes import FAKE_INFO


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    world = ClassifierWorld(database)
    world.train(abstain_below=0.6)
    return world


def test_a_prediction_has_a_label_with_probabilities_of_all(world: ClassifierWorld) -> None:
    told = world.service.classify("topic", ["they won the match", "the bank"])
    assert (told.classifier, told.version) == ("topic", 1)
    first, second = told.predictions
    assert (first.label, first.labels, second.label) == ("sports", ("sports",), "money")
    assert sum(first.scores.values()) == pytest.approx(1)
    assert first.score == max(first.scores.values())
    assert (first.abstention, first.is_truncated, first.evidence) == (None, False, None)


def test_what_is_unlike_all_is_marked(world: ClassifierWorld) -> None:
    (prediction,) = world.service.classify("topic", ["zzz"]).predictions
    assert prediction.abstention is Abstention.LOW_CONFIDENCE
    assert world.meter.predictions == (0, 1)


def test_a_text_longer_than_the_encoder_reads_says_so(world: ClassifierWorld) -> None:
    (prediction,) = world.service.classify("topic", ["won " * FAKE_INFO.max_tokens]).predictions
    assert prediction.is_truncated


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "0 texts were sent; 1 to 2,048"),
        (["x"] * 2049, "2,049 texts were sent"),
        (["x", "  "], r"texts\[1\] is empty"),
        (["a\0"], "NUL"),
    ],
)
def test_texts_that_cannot_be_classified_are_refused(
    world: ClassifierWorld, texts: list[str], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        world.service.classify("topic", texts)


def test_an_unknown_classifier_or_version_is_not_found(world: ClassifierWorld) -> None:
    with pytest.raises(NotFound):
        world.service.classify("other", ["x"])
    with pytest.raises(NotFound):
        world.service.classify("topic", ["x"], number=7)


def test_contributions_of_tokens_and_bias_add_up_to_the_logit(world: ClassifierWorld) -> None:
    text = "the team lost the last match"
    (prediction,) = world.service.classify("topic", [text], evidence=True).predictions
    evidence = prediction.evidence
    assert evidence is not None
    assert evidence.bias is not None
    assert evidence.label == "sports"
    total = evidence.bias + sum(token.contribution for token in evidence.tokens)
    assert total == pytest.approx(evidence.logit, rel=1e-6)
    served = world.service.serving.active.get("topic")
    vectors = world.encoder.encode_passages([PassageText("", text)])
    logits = world.heads.scores(served.head, vectors).logits[0]
    assert evidence.logit == pytest.approx(float(logits[served.head.labels.index("sports")]), rel=1e-4)
    words = {text[token.start : token.end]: token.contribution for token in evidence.tokens}
    assert max(words, key=lambda word: words[word]) in ("team", "match", "the", "last")
    assert words["lost"] == pytest.approx(0, abs=0.1)


def test_contributions_of_words_sentences_and_other_labels_add_up_too(world: ClassifierWorld) -> None:
    text = "The team lost. It was the last match!"
    (prediction,) = world.service.classify("topic", [text], evidence=True).predictions
    evidence = prediction.evidence
    assert evidence is not None
    assert evidence.bias is not None
    for level in (evidence.words, evidence.sentences):
        total = evidence.bias + sum(one.contribution for one in level)
        assert total == pytest.approx(evidence.logit, rel=1e-6)
        assert all(one.text in (text[one.start : one.end], "[CLS]") for one in level)
    assert [one.text for one in evidence.sentences[1:]] == ["The team lost", "It was the last match"]
    probable = sorted(prediction.scores, key=lambda label: -prediction.scores[label])
    assert [evidence.label, *(other.label for other in evidence.others)] == probable
    assert len(evidence.others) >= 1
    served = world.service.serving.active.get("topic")
    vectors = world.encoder.encode_passages([PassageText("", text)])
    logits = world.heads.scores(served.head, vectors).logits[0]
    for other in evidence.others:
        assert len(other.contributions) == len(evidence.tokens)
        assert other.bias + sum(other.contributions) == pytest.approx(other.logit, rel=1e-6)
        assert other.logit == pytest.approx(float(logits[served.head.labels.index(other.label)]), rel=1e-4)


def test_the_nearest_labelled_examples_come_first_and_follow_changes(world: ClassifierWorld) -> None:
    text = "a goal in the first minute"
    evidence = world.service.classify("topic", [text], evidence=True).predictions[0].evidence
    assert evidence is not None
    assert (evidence.neighbours[0].text, evidence.neighbours[0].labels) == (SPORTS[1], ("sports",))
    near = [neighbour.similarity for neighbour in evidence.neighbours]
    assert near == sorted(near, reverse=True)
    assert len(near) == 5
    vectors = world.encoder.encode_passages([PassageText("", text), PassageText("", SPORTS[1])])
    assert near[0] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-3)
    world.service.change_examples("topic", [LabelledText(text, ("sports",))])
    evidence = world.service.classify("topic", [text], evidence=True).predictions[0].evidence
    assert evidence is not None
    assert evidence.neighbours[0].text == text


def test_what_serves_goes_on_while_the_database_is_away(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.label("they won the match") == "sports"
    monkeypatch.setattr("core.active_heads.ASK_EVERY_S", 0.0)

    def away(store: SqlClassifierStore, name: str) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(SqlClassifierStore, "get", away)
    assert world.label("they won the match") == "sports"
    with pytest.raises(Unavailable):
        world.label("they won", "other")


def test_the_store_is_asked_twice_a_second_at_most(
    world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, get = [], SqlClassifierStore.get

    def counting(store: SqlClassifierStore, name: str) -> object:
        asked.append(name)
        return get(store, name)

    monkeypatch.setattr(SqlClassifierStore, "get", counting)
    monkeypatch.setattr("core.active_heads.ASK_EVERY_S", 60.0)
    world.service.serving.active.forget("topic")
    for _ in range(20):
        world.label(MOODS[0].text)
    assert len(asked) == 1


def test_names_that_do_not_exist_leave_nothing_in_memory(world: ClassifierWorld) -> None:
    active = world.service.serving.active
    for number in range(50):
        with pytest.raises(NotFound):
            active.get(f"unknown-{number}")
    assert not [name for name in active._forgotten if name.startswith("unknown")]


def test_the_heads_used_last_stay_in_memory(world: ClassifierWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.active_heads.MAX_HEADS", 2)
    active = world.service.serving.active
    world.train()
    first = active.get("topic", 1)
    active.get("topic", 2)
    assert active.get("topic", 1).head is first.head
    world.train()
    active.get("topic", 3)
    assert active.get("topic", 1).head is first.head, "it was used after version 2"
