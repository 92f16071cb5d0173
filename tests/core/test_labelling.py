"""Labels into the metadata of documents: of whole collections as jobs, and on arrival."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from core import labelling
from core.annotations import label_annotations
from core.classifier_types import (
    Abstention,
    GivenLabel,
    Head,
    HeadKind,
    HeadScores,
    LabelingRule,
    LabelledText,
    Labelling,
)
from core.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Unavailable
from core.job_types import Annotated, EncodedDocument, JobKind, JobState, JobStep, Task, TaskKind
from core.labelling import given_labels
from core.types import Collection, DocumentState, EncoderInfo, Float32
from storage.batches import SqlBatchStore
from storage.database import Database
from storage.labels import SqlLabelStore
from tests.core.centroid_heads import CentroidHeads
from tests.core.classifier_world import ClassifierWorld
from tests.fakes import DIM, FakeEncoder

TEXTS = {"a": "they won the match", "b": "the bank wants its loan", "c": "a goal and a team"}
TOPICS = {"a": "sports", "b": "money", "c": "sports"}


@pytest.fixture
def world(database: Database) -> ClassifierWorld:
    world = ClassifierWorld(database)
    world.train()
    return world


@pytest.fixture
def news(world: ClassifierWorld) -> Collection:
    collection = world.collection()
    world.add(collection, TEXTS, {"year": 2024})
    world.encoder.encoded.clear()
    return collection


def topics(world: ClassifierWorld, collection: Collection) -> Mapping[str, object]:
    return {id_: metadata.get("topic") for id_, metadata in world.metadata(collection).items()}


def test_a_whole_collection_is_labelled_from_stored_vectors(world: ClassifierWorld, news: Collection) -> None:
    job = world.service.label_collection("news", Labelling("topic", "topic"), request_id="r1")
    assert (job.kind, job.collection, job.details["version"]) == (JobKind.LABEL, "news", 1)
    assert world.queue.tasks == [Task(TaskKind.LABEL, job.id)] == SqlBatchStore(world.database).unfinished()
    world.work()
    done = world.jobs.get(job.id)
    assert (done.state, done.total, done.done) == (JobState.SUCCEEDED, 3, 3)
    assert topics(world, news) == TOPICS
    found = world.metadata(news)["a"]
    assert found["year"] == 2024
    assert found["topic_confidence"] == pytest.approx(
        world.service.classify("topic", [TEXTS["a"]]).predictions[0].score, abs=1e-3
    )
    assert world.encoder.encoded == [TEXTS["a"]], "only by the line above"
    assert world.notifier.published[-1] == (news.id, world.collections.get("news").seq)
    assert world.meter.documents == 3


def test_a_labelling_keeps_the_seq_of_its_last_change(
    world: ClassifierWorld, news: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "PAGE", 1)
    before = world.collections.get("news").seq
    jobs = [world.service.label_collection("news", Labelling("topic", "topic")).id for _ in range(2)]
    assert world.jobs.get(jobs[0]).seq == 0
    world.work()
    head = world.collections.get("news").seq
    assert head == before + 3, "one a page, none the second time"
    assert [world.jobs.get(job).seq for job in jobs] == [head, head]


def test_labelling_again_changes_nothing(world: ClassifierWorld, news: Collection) -> None:
    for _ in range(2):
        world.service.label_collection("news", Labelling("topic", "topic"))
        world.work()
        seq = world.collections.get("news").seq
    world.service.labelling.run(world.service.label_collection("news", Labelling("topic", "topic")).id)
    assert world.collections.get("news").seq == seq


class Dying(SqlLabelStore):
    """The process ends after one page."""

    pages = 0

    def write(
        self,
        collection_id: int,
        field: str,
        labels: Mapping[int, GivenLabel | None],
        step: JobStep | None = None,
    ) -> int:
        self.pages += 1
        if self.pages == 2:
            raise KeyboardInterrupt
        return super().write(collection_id, field, labels, step)


def test_after_a_crash_labelling_goes_on_where_it_was(
    world: ClassifierWorld, news: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "PAGE", 1)
    dying = ClassifierWorld(world.database)
    object.__setattr__(dying.service.labelling, "labels", Dying(world.database))
    job = dying.service.label_collection("news", Labelling("topic", "topic"))
    with pytest.raises(KeyboardInterrupt):
        dying.work()
    assert world.jobs.get(job.id).done == 1
    world.service.labelling.run(job.id)
    assert world.meter.documents == 2
    assert world.jobs.get(job.id).done == 3
    assert topics(world, news) == TOPICS


def test_the_seq_of_a_labelling_cancelled_behind_a_page_covers_that_page(
    world: ClassifierWorld, news: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "PAGE", 1)
    job = world.service.label_collection("news", Labelling("topic", "topic"))
    monkeypatch.setattr(type(world.notifier), "publish", lambda *_: world.jobs.cancel(job.id))
    world.work()
    cancelled = world.jobs.get(job.id)
    assert (cancelled.state, cancelled.done) == (JobState.CANCELLED, 1)
    assert cancelled.seq == world.collections.get("news").seq
    assert sum(topic is not None for topic in topics(world, news).values()) == 1


def test_a_labelling_cancelled_before_a_page_is_written_writes_nothing_of_it(
    world: ClassifierWorld, news: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.collections.get("news").seq
    job = world.service.label_collection("news", Labelling("topic", "topic"))
    scores = CentroidHeads.scores

    def cancelled_meanwhile(heads: CentroidHeads, head: Head, vectors: Float32) -> HeadScores:
        world.jobs.cancel(job.id)
        return scores(heads, head, vectors)

    monkeypatch.setattr(CentroidHeads, "scores", cancelled_meanwhile)
    world.work()
    assert world.jobs.get(job.id).state is JobState.CANCELLED
    assert world.jobs.get(job.id).seq == 0
    assert world.collections.get("news").seq == before
    assert set(topics(world, news).values()) == {None}


def test_a_stopping_process_leaves_labelling_to_the_next(world: ClassifierWorld, news: Collection) -> None:
    job = world.service.label_collection("news", Labelling("topic", "topic"))
    world.is_stopping = True
    with pytest.raises(Unavailable, match="stops"):
        world.work()
    world.is_stopping = False
    world.service.labelling.run(job.id)
    assert world.jobs.get(job.id).state is JobState.SUCCEEDED


def test_what_an_abstaining_head_leaves_out_has_a_confidence_and_no_label(
    world: ClassifierWorld, news: Collection
) -> None:
    world.train(abstain_below=0.999999)
    world.service.label_collection("news", Labelling("topic", "topic"))
    world.work()
    found = world.metadata(news)["a"]
    assert found["topic"] is None
    assert found["topic_confidence"] < 0.999999


def test_that_a_head_of_several_labels_abstained_differs_from_that_no_label_fits() -> None:
    head = Head(HeadKind.PROTOTYPES, ("a", "b"), True, {}, {})
    probabilities = np.array([[0.2, 0.1], [0.2, 0.1]], np.float32)
    chosen = np.zeros((2, 2), np.bool_)
    scores = HeadScores(probabilities, probabilities, chosen, (None, Abstention.LOW_CONFIDENCE))
    none_fits, abstained = (label_annotations("x", one)["x"] for one in given_labels(head, scores))
    assert (none_fits, abstained) == ([], None)


def test_a_field_that_documents_hold_themselves_is_not_hidden_unasked(
    world: ClassifierWorld, news: Collection
) -> None:
    for held in ("year", "topic"):
        world.add(news, {"d": "shares and interest"}, {"topic": {"confidence": 1}, "year": 1})
        start = partial(world.service.label_collection, "news")
        refused = "year" if held == "year" else "topic.confidence"
        with pytest.raises(Conflict, match=rf"'[a-d]' has metadata of its own in the field '{refused}'"):
            start(Labelling("topic", refused, on_arrival=True))
        assert world.service.rules("news") == []
    start(Labelling("topic", "year", may_hide=True))
    world.work()
    assert world.metadata(news)["a"]["year"] == "sports"
    start(Labelling("topic", "year"))  # the field is labelling's by now


def test_a_value_that_came_since_a_labelling_is_not_hidden_unasked(
    world: ClassifierWorld, news: Collection
) -> None:
    start = partial(world.service.label_collection, "news")
    start(Labelling("topic", "topic"))
    world.work()
    world.add(news, {"d": "shares and interest"}, {"topic": "mine"})
    with pytest.raises(Conflict, match="'d' has metadata of its own in the field 'topic'"):
        start(Labelling("topic", "topic"))
    start(Labelling("topic", "topic", on_arrival=True, may_hide=True))
    world.work()
    world.add(news, {"e": "the team and its match"}, {"topic": "mine"})
    assert topics(world, news) == TOPICS | {"d": "money", "e": "sports"}
    start(Labelling("topic", "topic"))  # what labels hide by now they may go on hiding


def test_labels_are_taken_off_again_with_their_rule(
    world: ClassifierWorld, news: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "PAGE", 2)
    before = world.metadata(news)
    world.service.label_collection("news", Labelling("topic", "year", may_hide=True))
    world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
    world.work()
    for field in ("year", "topic"):
        job = world.service.remove_labels("news", field)
        world.work()
        done = world.jobs.get(job.id)
        assert (done.state, done.done, done.seq) == (JobState.SUCCEEDED, 3, world.collections.get("news").seq)
    assert world.metadata(news) == before
    assert world.service.rules("news") == []
    assert world.notifier.published[-1] == (news.id, world.collections.get("news").seq)
    with pytest.raises(NotFound):
        world.service.remove_labels("news", "topic")


def test_documents_are_labelled_on_arrival_with_their_vectors(
    world: ClassifierWorld, news: Collection
) -> None:
    world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
    world.work()
    assert world.service.rules("news") == [LabelingRule(news.id, "topic", "topic")]
    seq = world.collections.get("news").seq
    world.add(news, {"d": "shares and interest"}, {"year": 2025})
    assert world.collections.get("news").seq == seq + 1, "one transaction"
    assert topics(world, news) == TOPICS | {"d": "money"}
    assert world.metadata(news)["d"]["year"] == 2025
    world.service.remove_rule("news", "topic")
    world.add(news, {"e": "shares and interest"})
    assert topics(world, news) == TOPICS | {"d": "money", "e": None}
    with pytest.raises(NotFound):
        world.service.remove_rule("news", "topic")


def test_arrival_uses_the_version_that_is_active_then(world: ClassifierWorld, news: Collection) -> None:
    world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
    world.work()
    world.service.change_examples("topic", [LabelledText("rain and sun", ("weather",))])
    world.add(news, {"d": "sun after rain"})
    assert topics(world, news) == TOPICS | {"d": "weather"}


def add_while_annotated(
    world: ClassifierWorld, collection: Collection, document: str, meanwhile: Callable[[], object]
) -> None:
    """A document about money; `meanwhile` happens when its batch has its labels and is not yet published."""
    left = [meanwhile]

    def annotate(collection: Collection, encoded: Sequence[EncodedDocument]) -> Annotated:
        annotated = world.service.labelling.annotated(collection, encoded)
        if left:
            left.pop()()
        return annotated

    ingest = replace(world.ingest, annotate=annotate)
    ingest.submit(collection, [{"id": document, "text": "shares and interest"}])
    for task in SqlBatchStore(world.database).unfinished():
        ingest.run_batch(task.id)


def test_no_document_falls_between_a_new_rule_and_its_labelling(
    world: ClassifierWorld, news: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    def label_all() -> None:
        job = world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
        world.service.labelling.run(job.id)
        assert world.jobs.get(job.id).done == 3

    with caplog.at_level(logging.INFO):
        add_while_annotated(world, news, "d", label_all)
    assert topics(world, news) == TOPICS | {"d": "money"}
    assert "batch annotated anew" in caplog.messages


def test_no_document_is_labelled_by_a_rule_that_was_removed_before_it_arrived(
    world: ClassifierWorld, news: Collection
) -> None:
    world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
    world.work()
    add_while_annotated(world, news, "d", lambda: world.service.remove_rule("news", "topic"))
    assert topics(world, news) == TOPICS | {"d": None}


def test_arrival_uses_the_version_that_another_process_activated_just_before(
    world: ClassifierWorld, news: Collection
) -> None:
    world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
    world.work()
    other = ClassifierWorld(world.database)
    learned = [LabelledText("shares and interest", ("finance",))]
    add_while_annotated(world, news, "d", lambda: other.service.change_examples("topic", learned))
    assert topics(world, news) == TOPICS | {"d": "finance"}


def test_a_rule_that_cannot_be_followed_leaves_documents_unlabelled(
    world: ClassifierWorld, news: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
    world.work()
    other = ClassifierWorld(
        world.database, encoder=FakeEncoder(info=EncoderInfo("other", "e" * 64, DIM, 256))
    )
    other.train()  # the classifier is of another encoder now
    fresh = ClassifierWorld(world.database)
    fresh.add(news, {"d": "shares and interest"})
    assert topics(world, news)["d"] is None
    assert world.documents.get(news.id, "d").state is DocumentState.SEARCHABLE
    assert "documents stay unlabelled" in caplog.text


def test_a_deleted_classifier_leaves_documents_unlabelled(world: ClassifierWorld, news: Collection) -> None:
    world.service.label_collection("news", Labelling("topic", "topic", on_arrival=True))
    world.work()
    world.service.delete("topic")
    world.add(news, {"d": "shares and interest"})
    assert topics(world, news)["d"] is None
    assert world.documents.get(news.id, "d").state is DocumentState.SEARCHABLE


def test_a_classifier_that_was_made_anew_labels_nothing_for_the_one_before(
    world: ClassifierWorld, news: Collection
) -> None:
    job = world.service.label_collection("news", Labelling("topic", "topic"))
    accepted, world.queue.tasks = world.queue.tasks, []
    world.service.delete("topic")
    world.train(examples=[LabelledText("they won", ("won",)), LabelledText("they lost", ("lost",))])
    world.queue.tasks = accepted
    world.work()
    assert world.jobs.get(job.id).state is JobState.FAILED
    assert "'topic' was made anew" in world.errors(job.id)
    assert set(topics(world, news).values()) == {None}


def test_what_cannot_be_labelled_is_refused_at_once(world: ClassifierWorld, news: Collection) -> None:
    start = world.service.label_collection
    with pytest.raises(NotFound):
        start("gone", Labelling("topic", "topic"))
    with pytest.raises(NotFound):
        start("news", Labelling("gone", "topic"))
    with pytest.raises(InvalidInput, match="write_to is empty"):
        start("news", Labelling("topic", " "))
    with pytest.raises(InvalidInput, match="is where confidences are kept"):
        start("news", Labelling("topic", "topic_confidence"))
    other = ClassifierWorld(
        world.database, encoder=FakeEncoder(info=EncoderInfo("other", "e" * 64, DIM, 256))
    )
    with pytest.raises(EncoderMismatch):
        other.service.label_collection("news", Labelling("topic", "topic"))
    assert world.service.rules("news") == []


def test_a_job_of_a_collection_that_was_made_anew_fails(world: ClassifierWorld, news: Collection) -> None:
    job = world.service.label_collection("news", Labelling("topic", "topic"))
    world.collections.delete("news")
    world.collection()
    world.work()
    assert "made anew" in world.jobs.get(job.id).errors[0].reason
    with pytest.raises(Conflict):
        world.long_jobs.begin(job.id)


def test_documents_are_suggested_that_are_no_examples(
    world: ClassifierWorld, news: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(news, {"odd": "zebra", "known": "the team won the match", "more": "quartz"})
    suggested = world.service.suggest("topic", "news", 2)
    assert {one.id for one in suggested} == {"odd", "more"}
    assert suggested[0].text in ("zebra", "quartz")
    assert "known" not in {one.id for one in world.service.suggest("topic", "news", 100)}
    with pytest.raises(InvalidInput, match="k is 0"):
        world.service.suggest("topic", "news", 0)
    monkeypatch.setattr("core.suggesting.MOST_DOCUMENTS", 3)
    monkeypatch.setattr("core.suggesting.PAGE", 2)
    assert 1 <= len(world.service.suggest("topic", "news", 100)) <= 3
    world.collection("empty")
    assert world.service.suggest("topic", "empty", 5) == []
