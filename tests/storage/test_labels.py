"""Labels in documents' metadata: seen wherever metadata are read, kept as long as the content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.backup_types import Move
from core.classifier_types import GivenLabel
from core.errors import NotFound
from core.job_types import JobKind
from core.types import Metadata
from storage import labels, pages
from storage.backups import SqlBackups
from storage.uploads import BACKUPS, local_uploads
from tests.storage.world import DIM, World, encode, new, vectors

GOOD = GivenLabel(("good",), 0.9)
SHOWN = {"tone": "good", "tone_confidence": 0.9}


def label(world: World, *external_ids: str, given: GivenLabel = GOOD, field: str = "tone") -> int:
    return world.labels.write(world.id, field, {world.id_of(id_): given for id_ in external_ids})


def seen(world: World, external_id: str) -> Metadata:
    """A document's metadata, which must be the same wherever they are read."""
    found = world.documents.get(world.id, external_id).metadata
    id_ = world.id_of(external_id)
    (entry,) = [entry for entry in world.read_log() if entry.document_id == id_]
    assert dict(entry.metadata) == found
    rows = world.documents.passages(world.id, entry.passage_ids.tolist())
    assert all(row.metadata == found for row in rows.values())
    listed = world.documents.list(world.id, None, 100, None)
    assert [one.metadata for one in listed if one.external_id == external_id] == [found]
    for passages, _ in world.documents.replacements(world.id, [id_]).values():
        assert all(row.metadata == found for row in passages)
    return found


def test_labels_are_seen_over_the_metadata_that_were_sent(world: World) -> None:
    world.add(new("a", year=2020, tone="mine"), new("b"))
    before = world.seq
    assert label(world, "a") == before + 1 == world.seq
    assert seen(world, "a") == {"year": 2020, **SHOWN}
    assert seen(world, "b") == {}
    label(world, "a", given=GivenLabel(("x", "y"), 0.51, is_multi=True), field="topics")
    assert seen(world, "a") == {"year": 2020, **SHOWN, "topics": ["x", "y"], "topics_confidence": 0.51}


def test_a_label_of_a_dotted_field_hides_what_nested_objects_hold_there(world: World) -> None:
    held = {"b": "orig", "b_confidence": 1, "c": [1]}
    world.add(new("a", a=held, other={"b": 2}), new("flat", **{"a.b": "orig"}, a="text"))
    label(world, "a", "flat", field="a.b")
    given = {"a.b": "good", "a.b_confidence": 0.9}
    assert seen(world, "a") == {"a": {"c": [1]}, "other": {"b": 2}, **given}
    assert seen(world, "flat") == {"a": "text", **given}
    world.add(new("a", a={"b": "sent anew"}))
    assert seen(world, "a") == {"a": {}, **given}


@pytest.mark.parametrize(
    ("given", "value"),
    [(GivenLabel((), 0.2), None), (GivenLabel((), 0.2, is_multi=True), []), (GOOD, "good")],
)
def test_one_label_is_a_text_several_are_a_list_and_none_is_null(
    world: World, given: GivenLabel, value: Any
) -> None:
    world.add(new("a", tone="mine"))
    label(world, "a", given=given)
    assert seen(world, "a") == {"tone": value, "tone_confidence": given.confidence}


def test_writing_the_same_labels_again_is_no_change(world: World) -> None:
    world.add(new("a"), new("b"))
    seq = label(world, "a", "b")
    assert label(world, "a", "b") == seq == world.seq
    ids = {id_: world.id_of(id_) for id_ in "ab"}
    better = replace(GOOD, confidence=0.95)
    assert world.labels.write(world.id, "tone", {ids["a"]: GOOD, ids["b"]: better}) == seq + 1
    assert [entry.document_id for entry in world.read_log((seq, 2**62))] == [ids["b"]]


def test_labels_stay_when_the_same_document_or_other_metadata_are_sent(world: World) -> None:
    world.add(new("a", year=2020))
    seq = label(world, "a")
    again = world.send(new("a", year=2020))
    assert (again.batch_ids, again.seq, world.seq) == ((), None, seq)
    assert seen(world, "a") == {"year": 2020, **SHOWN}
    world.send(new("a", year=2021))
    assert seen(world, "a") == {"year": 2021, **SHOWN}


def test_labels_go_with_the_content_unless_new_ones_come_with_the_vectors(world: World) -> None:
    world.add(new("a", "one"), new("b", "two"))
    label(world, "a", "b")
    sent = world.send(new("a", "other", year=1), new("b", "another"))
    assert world.documents.get(world.id, "a").metadata == {"year": 1}, "of the newest version, not labelled"
    (entry, _) = world.read_log()
    assert entry.metadata == SHOWN, "the version that is searchable until then"
    (batch_id,) = sent.batch_ids
    batch = world.claim(batch_id)
    fresh = {"tone": "bad", "tone_confidence": 0.7}
    encoded = [
        replace(one, annotations=fresh if item.external_id == "a" else None)
        for one, item in zip(encode(batch.items), batch.items, strict=True)
    ]
    world.batches.complete(batch, encoded, [])
    assert seen(world, "a") == {"year": 1, **fresh}
    assert seen(world, "b") == {}


def test_labels_stay_while_new_content_waits_and_when_it_is_withdrawn_or_fails(world: World) -> None:
    world.add(new("a", "one"))
    label(world, "a")
    world.send(new("a", "other"))
    world.send(new("a", "one"))
    assert seen(world, "a") == SHOWN
    world.fail(world.send(new("a", "other")))
    assert seen(world, "a") == SHOWN


def test_a_deleted_document_comes_back_without_labels(world: World) -> None:
    world.add(new("a", "one"))
    label(world, "a")
    world.documents.delete(world.id, ["a"])
    (entry,) = world.read_log((0, 2**62))
    assert entry.metadata == {}
    world.add(new("a", "one"))
    assert seen(world, "a") == {}


def test_what_is_gone_or_has_other_content_than_was_labelled_is_left_out(world: World) -> None:
    world.add(new("a", "one"), new("b", "two"), new("c", "three"), new("d", "four"))
    page = world.labels.document_vectors(world.id, 0, 10)
    passages = dict(zip(page.ids.tolist(), page.passages.tolist(), strict=True))
    world.documents.delete(world.id, ["a"])
    world.add(new("b", "changed"))
    world.send(new("c", "three", year=1), new("d", "to be encoded"))
    seq = world.seq
    given = {id_: replace(GOOD, passage=passage) for id_, passage in passages.items()} | {10**9: GOOD}
    assert world.labels.write(world.id, "tone", given) == seq + 1
    assert seen(world, "b") == {}
    assert seen(world, "c") == {"year": 1, **SHOWN}
    assert {
        id_: dict(e.metadata) for e in world.read_log() if (id_ := e.document_id) == world.id_of("d")
    } == {world.id_of("d"): SHOWN}
    other = World(world.database, "other")
    assert other.labels.write(other.id, "tone", given) == 0
    with pytest.raises(NotFound):
        world.labels.write(99, "tone", given)


def test_vectors_of_documents_are_unit_means_in_pages(world: World) -> None:
    world.add(*(new(f"{i}", f"text {i}") for i in range(7)), new("empty", ""))
    world.send(new("pending", "not yet"))
    World(world.database, "other").add(new("o"))
    pages, after = [], 0
    while len((page := world.labels.document_vectors(world.id, after, 3)).ids):
        pages.append(page)
        after = int(page.ids[-1])
    assert [len(page.ids) for page in pages] == [3, 3, 1]
    assert all(page.vectors.dtype == np.float32 for page in pages)
    rows = world.labels.rows(world.id, np.concatenate([page.ids for page in pages]))
    for page in pages:
        for id_, vector in zip(page.ids.tolist(), page.vectors, strict=True):
            mean = vectors("", rows[id_][2]).astype(np.float64).mean(axis=0)
            np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=1e-5)
    assert world.labels.document_vectors(world.id, after, 3).vectors.shape == (0, DIM)
    with pytest.raises(NotFound):
        world.labels.document_vectors(99, 0, 3)


def test_a_field_is_known_to_be_written_by_labelling(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "SCAN_ROWS", 1)
    world.add(new("a", tone="sent"), new("b"), new("c"), new("d"))
    label(world, "b", given=GivenLabel((), 0.4), field="mood")
    assert not world.labels.has_annotations(world.id, "tone")
    assert not world.labels.has_annotations(world.id, "mood"), "no label was given"
    label(world, "d", field="mood")
    assert world.labels.has_annotations(world.id, "mood")
    assert world.labels.has_annotations(world.id, "mood_confidence")


def test_rows_tell_searchable_documents(world: World) -> None:
    world.add(new("a", "one", "A title"), new("b"))
    world.send(new("c"))
    ids = np.array([world.id_of(id_) for id_ in "abc"] + [10**9])
    world.documents.delete(world.id, ["b"])
    assert world.labels.rows(world.id, ids) == {ids[0]: ("a", "A title", "one")}


@pytest.mark.parametrize(
    ("metadata", "values"),
    [
        ({"topic": "x"}, ("x",)),
        ({"topic": ["x", 7, True, 1.5, "x", None, {"y": 1}]}, ("x", "7", "true", "1.5")),
        ({"topic": [1234567890123456, 1234567890123457]}, ("1234567890123456", "1234567890123457")),
        ({"topic": None}, None),
        ({"topic": {"deep": "x"}}, None),
        ({"other": "x"}, None),
    ],
)
def test_labelled_documents_are_those_with_a_value(
    world: World, metadata: Mapping[str, Any], values: tuple[str, ...] | None
) -> None:
    world.add(new("a", "one", "A title", **metadata))
    found, page = world.labels.labelled(world.id, "topic", 0, 10)
    assert found == ([] if values is None else [("A title\none", values)])
    assert len(page.ids) == len(found)


def test_an_empty_list_is_no_label_unless_asked_for(world: World) -> None:
    world.add(new("a", "one", deep={"topic": []}), new("b", "two", deep={"topic": ["x"]}), new("c", "three"))
    world.add(new("d", "four", deep={"topic": None}), new("e", "five", deep={"topic": [None]}))
    assert world.labels.labelled(world.id, "deep.topic", 0, 10)[0] == [("two", ("x",))]
    with_none = world.labels.labelled(world.id, "deep.topic", 0, 10, with_none=True)[0]
    assert with_none == [("one", ()), ("two", ("x",))]


def test_labelled_documents_come_in_pages_with_their_vectors(world: World) -> None:
    world.add(*(new(f"{i}", f"text {i}", deep={"topic": i % 3} if i % 2 else {}) for i in range(9)))
    world.labels.write(world.id, "deep.topic", {world.id_of("0"): GOOD})
    found, after = [], 0
    while True:
        rows, page = world.labels.labelled(world.id, "deep.topic", after, 3)
        found += rows
        if len(rows) < 3:
            break
        after = int(page.ids[-1])
    assert found == [(f"text {i}", (str(i % 3),)) for i in (1, 3, 5, 7)], "not what labelling wrote"


def test_pages_of_vectors_end_where_their_documents_have_many_passages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_PASSAGES", 5)
    world.add(*(new(f"{i}", f"text {i}", topic=i) for i in range(5)))  # two passages each
    sizes, after = [], 0
    while len((page := world.labels.document_vectors(world.id, after, 10)).ids):
        sizes.append(len(page.ids))
        after = int(page.ids[-1])
    assert sizes == [2, 2, 1]
    found, after = [], 0
    while (rows_and_page := world.labels.labelled(world.id, "topic", after, 10))[0]:
        found.append([text for text, _ in rows_and_page[0]])
        after = int(rows_and_page[1].ids[-1])
    assert found == [["text 0", "text 1"], ["text 2", "text 3"], ["text 4"]]


def test_backups_hold_the_labels(world: World, tmp_path: Path) -> None:
    world.add(new("a", year=2020), new("b"))
    label(world, "a")
    store = SqlBackups(world.database, local_uploads(tmp_path, BACKUPS), "test", world.clock)
    store.create(world.long_jobs.open(JobKind.BACKUP, "", {}).id, "b", None, lambda done: None)
    job = world.long_jobs.open(JobKind.RESTORE, "", {})
    list(store.restore(job.id, "b", [Move("news", "copy")], lambda done: None))
    copy = world.collections.get("copy")
    metadata = {d.external_id: d.metadata for d in world.documents.list(copy.id, None, 9, None)}
    assert metadata == {"a": {"year": 2020, **SHOWN}, "b": {}}


def test_of_held_passages_only_the_metadata_are_read(world: World) -> None:
    world.add(new("a", "one", "A title", year=1), new("b", "two"), new("c", "three"), new("d", "four"))
    held = {entry.document_id: entry.passage_ids.tolist() for entry in world.read_log()}
    seq = label(world, "a", "b")
    world.add(new("c", "other"))
    world.documents.delete(world.id, ["d"])
    held[world.id_of("b")] = held[world.id_of("b")][:1]
    page = world.log.read(world.id, (seq - 1, 2**62), 10, lambda id_: held.get(id_, ()))
    a, b, c, d = sorted(page.entries, key=lambda entry: entry.document_id)
    assert (a.is_held, a.passage_ids.tolist(), a.metadata) == (
        True,
        held[a.document_id],
        {"year": 1, **SHOWN},
    )
    assert (a.texts, len(a.vectors)) == ((), 0)
    assert [entry.is_held for entry in (b, c, d)] == [False, False, False]
    assert [len(entry.passage_ids) for entry in (b, c, d)] == [2, 2, 0]
    assert (b.texts, b.metadata, c.texts) == (("t", "wo"), SHOWN, ("ot", "her"))


@pytest.mark.parametrize(
    "field", ["plain", "a.b", 'with "quotes"', "back\\slash", "a'b", "$.x", "[0]", "ä 🙂", "%s", ":x"]
)
def test_what_a_field_holds_is_known_by_its_whole_name_or_its_path(world: World, field: str) -> None:
    unset: dict[str, Any] = {field: None}
    other: dict[str, Any] = {f"{field}2": 1}
    value: dict[str, Any] = {field: [False]}
    world.add(new("null", **unset), new("other", **other))
    assert world.labels.holder(world.id, field) is None
    world.add(new("held", **value))
    assert world.labels.holder(world.id, field) == "held"


def test_a_value_in_nested_objects_is_held_too(world: World) -> None:
    flat: dict[str, Any] = {"a.b": 1}
    world.add(new("nested", a={"b": {"c": 0}}), new("flat", **flat), new("list", x=[2, {"y": 1}]))
    assert world.labels.holder(world.id, "a.b.c") == "nested"
    assert world.labels.holder(world.id, "x.y") == "list"
    assert world.labels.holder(world.id, "a.c") is None


def test_a_value_that_labels_hide_already_or_never_will_is_not_held(world: World) -> None:
    world.add(new("a", tone="mine", tone_confidence=1), new("empty", "", tone="mine"))
    assert world.labels.holder(world.id, "tone") == "a"
    label(world, "a", field="other")
    assert world.labels.holder(world.id, "tone") == "a", "another field was labelled"
    label(world, "a", given=GivenLabel((), 0.4))
    assert [world.labels.holder(world.id, field) for field in SHOWN] == [None, None]
    world.add(new("b", tone="mine"))
    assert world.labels.holder(world.id, "tone") == "b"


def test_labels_taken_off_leave_the_others_and_show_what_was_sent(world: World) -> None:
    world.add(new("a", tone="mine"), new("b"))
    label(world, "a", "b")
    label(world, "a", field="other")
    ids = world.labels.annotated(world.id, "tone", 0, 10)
    assert ids == [world.id_of("a"), world.id_of("b")]
    assert world.labels.annotated(world.id, "tone", ids[0], 10) == ids[1:]
    seq = world.labels.write(world.id, "tone", dict.fromkeys(ids))
    assert seen(world, "a") == {"tone": "mine", "other": "good", "other_confidence": 0.9}
    assert seen(world, "b") == {}
    assert world.labels.annotated(world.id, "tone", 0, 10) == []
    assert world.labels.write(world.id, "tone", dict.fromkeys(ids)) == seq, "nothing is left to take off"
