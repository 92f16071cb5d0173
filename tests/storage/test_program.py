"""Random programs of requests and workers against a simple model of what should be stored."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from core.classifier_types import GivenLabel
from core.job_types import Accepted, BatchStanding, ClaimedBatch, FailedDocument, JobKind
from core.types import Metadata
from storage.database import Database
from storage.schema import Documents, Revisions
from tests.storage.world import World, encode, new, vectors

IDS = ["a", "b", "c", "d"]
SENT = st.dictionaries(
    st.sampled_from(IDS), st.tuples(st.sampled_from(["x", "yy", "zzz"]), st.integers(0, 1))
)
NAMES = itertools.count()
EXAMPLES = {"sqlite": 40, "postgres": 15}  # each statement there is a round trip to another process


@dataclass
class Waiting:
    """The newest version, which awaits encoding, and how many items of which jobs wait for it."""

    text: str
    tag: int
    batch: str
    jobs: Counter[str]


@dataclass
class Doc:
    """The searchable version, the one under way, and whether the document failed without either.

    `tone` is a label that the searchable version was given.
    """

    live: tuple[str, int] | None = None
    tone: str | None = None
    waiting: Waiting | None = None
    has_failed: bool = False


Followed: TypeAlias = tuple[list[int], list[list[float]], Metadata]  # passages, vectors, metadata


class Program(RuleBasedStateMachine):
    """Every step goes to the database and to the model; they must agree after it."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.database, f"c{next(NAMES)}")
        self.docs = {id_: Doc() for id_ in IDS}
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.total: dict[str, int] = {}
        self.read: dict[str, bool] = {}
        self.cancelled: set[str] = set()
        self.batches: list[str] = []
        self.claims: list[ClaimedBatch] = []
        self.cursor = (0, 0)
        self.index: dict[int, Followed] = {}

    @rule(sent=SENT)
    def send(self, sent: dict[str, tuple[str, int]]) -> None:
        accepted = self.world.send(*(new(id_, text, tag=tag) for id_, (text, tag) in sent.items()))
        self.total[accepted.job_id], self.read[accepted.job_id] = 0, True
        self.accept(accepted, sent)

    @rule()
    def start_import(self) -> None:
        job = self.world.start_job(JobKind.IMPORT)
        self.total[job], self.read[job] = 0, False

    def importing(self) -> list[str]:
        return sorted(job for job, is_read in self.read.items() if not is_read)

    @precondition(lambda self: self.importing())
    @rule(data=st.data(), sent=SENT, is_last=st.booleans())
    def send_part(self, data: st.DataObject, sent: dict[str, tuple[str, int]], is_last: bool) -> None:
        """A job may be sent one document many times, each time as an item of its own."""
        job = data.draw(st.sampled_from(self.importing()))
        documents = [new(id_, text, tag=tag) for id_, (text, tag) in sent.items()]
        self.read[job] = is_last
        self.accept(self.world.documents.accept(job, documents, is_last=is_last), sent)

    def accept(self, accepted: Accepted, sent: dict[str, tuple[str, int]]) -> None:
        job = accepted.job_id
        batch = accepted.batch_ids[0] if accepted.batch_ids else ""
        self.batches += accepted.batch_ids
        self.total[job] += len(sent)
        for id_, (text, tag) in sent.items():
            doc = self.docs[id_]
            waiting = doc.waiting.jobs if doc.waiting else Counter[str]()
            waiting[job] += 1
            if doc.waiting and doc.waiting.text == text:
                doc.waiting.tag = tag
            elif doc.live and doc.live[0] == text:
                doc.live, doc.waiting = (text, tag), None
                self.done += waiting
            else:
                doc.waiting = Waiting(text, tag, batch, waiting)
                doc.has_failed = False

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), leases_have_expired=st.booleans())
    def claim(self, data: st.DataObject, leases_have_expired: bool) -> None:
        if leases_have_expired:
            self.world.clock.advance(61)
        batch = self.world.batches.claim(data.draw(st.sampled_from(self.batches[-2:])), 60)
        if batch is not None:
            self.claims.append(batch)
            assert {i.external_id: i.text for i in batch.items} == self.owned(batch.id)

    def owned(self, batch_id: str) -> dict[str, str]:
        waiting = {id_: doc.waiting for id_, doc in self.docs.items() if doc.waiting}
        return {id_: w.text for id_, w in waiting.items() if w.batch == batch_id}

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), bad=st.sets(st.sampled_from(IDS), max_size=2))
    def complete(self, data: st.DataObject, bad: set[str]) -> None:
        batch = data.draw(st.sampled_from(self.claims[-3:]))
        good = [i for i in batch.items if i.external_id not in bad]
        failed = [FailedDocument(i.document_id, i.external_id, "bad") for i in batch.items if i not in good]
        if self.world.batches.complete(batch, encode(good), failed) is None:
            return
        newest = max(claim.attempt for claim in self.claims if claim.id == batch.id)
        assert batch.attempt == newest
        for id_ in self.owned(batch.id):
            self.arrive(self.docs[id_], is_bad=id_ in bad)

    def arrive(self, doc: Doc, is_bad: bool) -> None:
        assert doc.waiting
        counts = self.failed if is_bad else self.done
        counts.update(doc.waiting.jobs)
        if not is_bad:
            doc.live, doc.tone = (doc.waiting.text, doc.waiting.tag), None
        doc.has_failed = doc.live is None
        doc.waiting = None

    @precondition(lambda self: self.claims)
    @rule()
    def steal(self) -> None:
        slow = self.claims[-1]
        self.world.clock.advance(61)
        batch = self.world.batches.claim(slow.id, 60)
        if batch is not None:
            self.claims.append(batch)
            assert self.world.batches.complete(slow, encode(slow.items), []) is None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), fault=st.none() | st.just("no"))
    def release(self, data: st.DataObject, fault: str | None) -> None:
        self.world.batches.release(data.draw(st.sampled_from(self.claims)), fault)

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def crash_until_spent(self, data: st.DataObject) -> None:
        batch_id = data.draw(st.sampled_from(self.batches))
        self.world.clock.advance(61)
        while (batch := self.world.batches.claim(batch_id, 60)) is not None:
            self.claims.append(batch)
            self.world.clock.advance(61)

    @rule()
    def bisect(self) -> None:
        """Every spent batch: its documents are in its halves, or the one that stood alone has failed."""
        for batch_id in list(self.batches):
            if self.world.batches.standing(batch_id) is BatchStanding.SPENT:
                self.bisect_one(batch_id)

    def bisect_one(self, batch_id: str) -> None:
        owned = self.owned(batch_id)
        parts = self.world.batches.bisect(batch_id)
        self.batches += parts
        if parts:
            moved = {id_: part for part in parts for id_ in self.documents_of(part)}
            assert moved.keys() == owned.keys()
            for id_, part in moved.items():
                waiting = self.docs[id_].waiting
                assert waiting
                waiting.batch = part
        else:
            assert len(owned) <= 1
            for id_ in owned:
                self.arrive(self.docs[id_], is_bad=True)

    def documents_of(self, batch_id: str) -> list[str]:
        query = select(Documents.external_id).join(Revisions, Revisions.document_id == Documents.id)
        with self.world.database.read() as connection:
            return list(connection.execute(query.where(Revisions.batch_id == batch_id)).scalars())

    @rule(ids=st.sets(st.sampled_from(IDS), min_size=1))
    def delete(self, ids: set[str]) -> None:
        there = [id_ for id_ in ids if self.is_there(self.docs[id_])]
        assert self.world.documents.delete(self.world.id, sorted(ids))[0] == len(there)
        for id_ in there:
            waiting = self.docs[id_].waiting
            self.done.update(waiting.jobs if waiting else {})
            self.docs[id_] = Doc()

    @rule(ids=st.sets(st.sampled_from(IDS)), tone=st.sampled_from(["good", "bad"]))
    def label(self, ids: set[str], tone: str) -> None:
        """Those that are searchable are labelled, the others left out."""
        known = {id_: self.world.id_of(id_) for id_ in ids if self.is_there(self.docs[id_])}
        given = {row: GivenLabel((tone,), 0.5) for row in known.values()}
        assert self.world.labels.write(self.world.id, "tone", given) == self.world.seq
        for doc in (self.docs[id_] for id_ in ids):
            doc.tone = tone if doc.live else None

    @staticmethod
    def is_there(doc: Doc) -> bool:
        return bool(doc.live or doc.waiting or doc.has_failed)

    @precondition(lambda self: self.total)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.total)))
        if not self.is_over(job):
            self.cancelled.add(job)
        self.read[job] = True
        self.world.jobs.cancel(job)
        for doc in self.docs.values():
            if doc.waiting:
                self.failed[job] += doc.waiting.jobs.pop(job, 0)
                if not doc.waiting.jobs:
                    doc.has_failed = doc.live is None
                    doc.waiting = None

    def items_waiting(self, job: str) -> int:
        return sum(doc.waiting.jobs[job] for doc in self.docs.values() if doc.waiting)

    def is_over(self, job: str) -> bool:
        return job in self.cancelled or (self.read[job] and not self.items_waiting(job))

    @rule(limit=st.integers(1, 3))
    def follow(self, limit: int) -> None:
        while True:
            page = self.world.log.read(self.world.id, self.cursor, limit, self.held)
            for entry in page.entries:
                known = self.index[entry.document_id][1] if entry.is_held else entry.vectors.tolist()
                self.index[entry.document_id] = (entry.passage_ids.tolist(), known, entry.metadata)
            self.cursor = page.cursor
            if page.is_last:
                assert page.applied_seq == self.world.seq
                return

    def held(self, document_id: int) -> list[int]:
        return self.index[document_id][0] if document_id in self.index else []

    @rule()
    def purge(self) -> None:
        self.follow(3)  # a follower that is behind would have to start anew
        self.world.clock.advance(1)
        self.world.retention.purge(self.world.clock.now)
        for job in [job for job in self.total if self.is_over(job) and self.is_purged(job)]:
            del self.total[job], self.read[job]

    def is_purged(self, job: str) -> bool:
        """Jobs that are over may be purged; the model does not say when, as that hangs on their batches."""
        return job not in {found.id for found in self.world.jobs.list(1000)}

    @invariant()
    def counts_add_up(self) -> None:
        live = sum(1 for doc in self.docs.values() if doc.live)
        pending = sum(1 for doc in self.docs.values() if doc.waiting and not doc.live)
        failed = sum(1 for doc in self.docs.values() if doc.has_failed)
        assert self.world.counts() == (live, pending, failed)
        for job_id, total in self.total.items():
            job = self.world.jobs.get(job_id)
            waiting = self.items_waiting(job_id)
            assert (job.total, job.done, job.failed) == (total, self.done[job_id], self.failed[job_id])
            assert job.total == job.done + job.failed + waiting
            assert job.state.is_final == self.is_over(job_id)
            assert job.is_read == self.read[job_id]

    @invariant()
    def a_job_that_succeeded_has_all_its_documents_searchable(self) -> None:
        for id_, doc in self.docs.items():
            for job_id in doc.waiting.jobs if doc.waiting else ():
                assert not self.world.jobs.get(job_id).state.is_final, f"{id_} is not searchable yet"

    @invariant()
    def the_newest_version_is_told(self) -> None:
        listed = self.world.documents.list(self.world.id, None, 10, None)
        assert [d.external_id for d in listed] == [id_ for id_ in IDS if self.is_there(self.docs[id_])]
        for document in listed:
            doc = self.docs[document.external_id]
            newest = (doc.waiting.text, doc.waiting.tag) if doc.waiting else doc.live
            assert newest is None or (document.text, document.metadata["tag"]) == newest
            assert document.metadata.get("tone") == (None if doc.waiting else doc.tone)

    def teardown(self) -> None:
        self.follow(2)
        self.compare_index()
        self.finish_all()
        self.follow(2)
        self.compare_index()

    def finish_all(self) -> None:
        """What is left over is found, can be done, and then all jobs are over."""
        self.world.batches.release_all()
        while any(self.world.batches.standing(id_) is BatchStanding.SPENT for id_ in self.batches):
            self.bisect()
        for task in self.world.batches.unfinished():
            if task.id in self.batches:
                batch = self.world.batches.claim(task.id, 60)
                if batch:
                    assert self.world.batches.complete(batch, encode(batch.items), []) is not None
                for id_ in self.owned(task.id):
                    self.arrive(self.docs[id_], is_bad=False)
        self.counts_add_up()
        assert not any(doc.waiting for doc in self.docs.values())

    def compare_index(self) -> None:
        """Incremental replay, replay from zero and the model hold the same documents and vectors."""
        followed = {id_: entry for id_, entry in self.index.items() if entry[0]}
        from_zero = {
            entry.document_id: (entry.passage_ids.tolist(), entry.vectors.tolist(), entry.metadata)
            for entry in self.world.read_log()
            if len(entry.passage_ids)
        }
        assert followed == from_zero
        expected = {id_: vectors("", doc.live[0]) for id_, doc in self.docs.items() if doc.live}
        found = {}
        for passage_ids, rows, metadata in from_zero.values():
            hits = self.world.documents.passages(self.world.id, passage_ids)
            assert hits.keys() == set(passage_ids)
            [external_id] = {hit.external_id for hit in hits.values()}
            found[external_id] = np.array(rows, np.float16)
            assert all(hit.metadata == metadata for hit in hits.values())
            assert metadata.get("tone") == self.docs[external_id].tone
        assert found.keys() == expected.keys()
        for id_, array in expected.items():
            np.testing.assert_array_equal(found[id_], array)


@pytest.mark.slow
def test_the_stores_agree_with_the_model_in_random_programs(database: Database, kind: str) -> None:
    program = type("ProgramHere", (Program,), {"database": database})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        program,
        settings=settings(
            max_examples=EXAMPLES[kind],
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=checks,
            derandomize=True,
        ),
    )
