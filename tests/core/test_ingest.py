"""Running a batch: whatever fails, the lease comes back, and only documents at fault are blamed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from core import leases
from core.bulk_encoding import SLICE_CHARACTERS
from core.documents import DocumentLimits
from core.errors import EncoderMismatch, Overloaded, Unavailable
from core.ingest import IngestService
from core.job_types import (
    ArrivalRule,
    BatchStanding,
    ClaimedBatch,
    EncodedDocument,
    FailedDocument,
    Task,
    TaskKind,
    WorkItem,
)
from core.types import Collection, CollectionSettings, Float32, Lane, PassageText, Span
from tests.fakes import (
    FAKE_INFO,
    FakeEncoder,
    ListQueue,
    RecordingMeter,
    RecordingNotifier,
    WholeTextChunker,
)

COLLECTION = Collection(
    1, "u", "news", "", FAKE_INFO, CollectionSettings(), 0, 0, datetime(2030, 1, 1, tzinfo=UTC)
)
ITEMS = (WorkItem(1, "a", "", "one text"), WorkItem(2, "b", "", "poison"))
LONG = tuple(WorkItem(i, str(i), "", f"{i} " * (SLICE_CHARACTERS // 2)) for i in range(4))
NO_FAULT = [Overloaded("busy"), Unavailable("stopping"), EncoderMismatch("another encoder")]


@dataclass
class LeasedBatch:
    """A store of one batch; `errors` are raised by the next calls of complete."""

    items: Sequence[WorkItem] = ITEMS
    known: BatchStanding = BatchStanding.FRESH
    attempt: int = 0
    tries: int = 0
    is_held: bool = False
    is_done: bool = False
    errors: list[Exception] = field(default_factory=list)
    release_errors: list[Exception] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    encoded: list[int] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    extended: threading.Event = field(default_factory=threading.Event)

    def standing(self, batch_id: str) -> BatchStanding | None:
        return None if self.is_held or self.is_done else self.known

    def claim(self, batch_id: str, lease_s: float) -> ClaimedBatch | None:
        if self.is_held or self.is_done:
            return None
        self.attempt, self.tries, self.is_held = self.attempt + 1, self.tries + 1, True
        return ClaimedBatch(batch_id, "job", COLLECTION, self.attempt, tuple(self.items))

    def extend(self, batch: ClaimedBatch, lease_s: float) -> bool:
        self.extended.set()
        return self.is_held

    def bisect(self, batch_id: str) -> tuple[str, ...]:
        self.is_done = True
        return ("left", "right")

    def complete(
        self,
        batch: ClaimedBatch,
        encoded: Sequence[EncodedDocument],
        failed: Sequence[FailedDocument],
        rules: Sequence[ArrivalRule] | None = None,
    ) -> int | None:
        if self.errors:
            raise self.errors.pop(0)
        if not self.is_held:
            return None
        self.is_held, self.is_done = False, True
        self.encoded = [document.document_id for document in encoded]
        self.failed = {document.external_id: document.reason for document in failed}
        return 7

    def release(self, batch: ClaimedBatch, fault: str | None = None) -> None:
        if self.release_errors:
            raise self.release_errors.pop(0)
        self.is_held = False
        if fault is None:
            self.tries -= 1
        else:
            self.faults.append(fault)

    def unfinished(self) -> Iterable[Task]:
        return []


def service(
    batches: LeasedBatch,
    refuse: Callable[[str], bool] = lambda text: text == "poison",
    lease_s: float = 60.0,
    encoder: FakeEncoder | None = None,
) -> IngestService:
    nothing = cast(Any, None)
    encoder = encoder or FakeEncoder(refuse=refuse)
    notifier = RecordingNotifier()
    return IngestService(
        nothing, cast(Any, batches), nothing, encoder, WholeTextChunker(), ListQueue(), notifier,
        DocumentLimits(), 10, lease_s,
    )  # fmt: skip


def test_a_document_that_cannot_be_encoded_fails_alone() -> None:
    batches = LeasedBatch()
    service(batches).run_batch("x")
    assert batches.encoded == [1]
    assert batches.failed == {"b": "could not be embedded: ValueError: this text cannot be encoded"}


def test_a_batch_that_somebody_holds_or_that_is_done_is_left_alone() -> None:
    for batches in (LeasedBatch(is_held=True), LeasedBatch(is_done=True)):
        service(batches).run_batch("x")
        assert (batches.attempt, batches.encoded) == (0, [])


def test_no_document_is_blamed_when_the_encoder_fails_on_everything() -> None:
    batches = LeasedBatch()
    with pytest.raises(Unavailable, match=r"fails even on 'A plain text.'.*this text cannot be encoded"):
        service(batches, refuse=lambda text: True).run_batch("x")
    assert not batches.is_done
    assert (batches.is_held, batches.tries) == (False, 0)


@pytest.mark.parametrize("error", [RuntimeError("value out of range"), *NO_FAULT])
def test_a_batch_that_could_not_be_stored_is_free_for_the_retry_at_once(error: Exception) -> None:
    batches = LeasedBatch(errors=[error])
    ingest = service(batches)
    with pytest.raises(type(error)):
        ingest.run_batch("x")
    assert not batches.is_held
    ingest.run_batch("x")
    assert batches.is_done
    assert batches.encoded == [1]


def test_an_error_that_may_be_the_documents_fault_counts_with_its_reason() -> None:
    batches = LeasedBatch(errors=[ValueError("too big for the column")])
    with pytest.raises(ValueError, match="too big"):
        service(batches).run_batch("x")
    assert (batches.tries, batches.faults) == (1, ["ValueError: too big for the column"])


@pytest.mark.parametrize("error", NO_FAULT)
def test_what_is_not_the_documents_fault_counts_for_nothing_however_often(error: Exception) -> None:
    batches = LeasedBatch(errors=[error] * 20)
    ingest = service(batches)
    for _ in range(20):
        with pytest.raises(type(error)):
            ingest.run_batch("x")
    assert (batches.tries, batches.faults, batches.is_done) == (0, [], False)


def test_a_lease_that_could_not_be_given_back_is_given_back_first_thing_later() -> None:
    away = Unavailable("the database is away")
    batches = LeasedBatch(errors=[Unavailable("first")], release_errors=[away, away])
    ingest = service(batches)
    with pytest.raises(Unavailable, match="first"):
        ingest.run_batch("x")
    assert batches.is_held
    with pytest.raises(Unavailable, match="away"):
        ingest.run_batch("x")
    ingest.requeue_unfinished()
    assert (batches.is_held, batches.tries, ingest.owed) == (False, 0, {})
    ingest.run_batch("x")
    assert batches.is_done


def test_a_spent_batch_is_bisected_and_its_halves_are_queued() -> None:
    batches = LeasedBatch(known=BatchStanding.SPENT)
    ingest = service(batches)
    ingest.run_batch("x")
    queue = cast(ListQueue, ingest.queue)
    assert queue.tasks == [Task(TaskKind.INGEST_BATCH, half) for half in ("left", "right")]
    assert batches.attempt == 0


@dataclass
class SlowEncoder(FakeEncoder):
    """Tells when it has begun, and goes on when it may."""

    begun: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        self.begun.set()
        assert self.may_go_on.wait(20)
        return super().encode_passages(passages, lane)


def test_a_batch_under_suspicion_is_worked_on_alone() -> None:
    slow = SlowEncoder()
    ingest = service(LeasedBatch(), encoder=slow)
    suspect = LeasedBatch(known=BatchStanding.SUSPECT)
    alone = cast(Any, ingest)
    others = IngestService(
        alone.documents, cast(Any, suspect), alone.jobs, slow, alone.chunker, alone.queue, alone.notifier,
        alone.limits, 10, turns=ingest.turns,
    )  # fmt: skip
    first = threading.Thread(target=ingest.run_batch, args=("fresh",))
    first.start()
    assert slow.begun.wait(20)
    second = threading.Thread(target=others.run_batch, args=("suspect",))
    second.start()
    second.join(0.2)  # as good as it gets: nothing tells of what does not happen
    assert suspect.attempt == 0, "a crash now must not count against it"
    slow.may_go_on.set()
    first.join(20)
    second.join(20)
    assert suspect.is_done


def test_a_batch_under_suspicion_is_put_back_untried_while_long_work_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suspect = LeasedBatch(known=BatchStanding.SUSPECT)
    ingest = service(suspect)
    monkeypatch.setattr(ingest.turns, "alone", partial(ingest.turns.alone, 0.0))
    with ingest.turns.long():
        with pytest.raises(Unavailable, match="under suspicion"):
            ingest.run_batch("suspect")
        assert (suspect.attempt, suspect.tries) == (0, 0)
        fresh = LeasedBatch()
        replace(ingest, batches=cast(Any, fresh)).run_batch("fresh")
        assert fresh.is_done
    ingest.run_batch("suspect")
    assert suspect.is_done


@pytest.mark.parametrize("known", [BatchStanding.FRESH, BatchStanding.SUSPECT])
def test_the_time_at_work_begins_with_the_turn(known: BatchStanding) -> None:
    began, batches = threading.Event(), LeasedBatch(known=known)
    ingest = service(batches)

    @contextmanager
    def at_work() -> Iterator[None]:
        began.set()
        yield
        assert batches.is_done

    thread = threading.Thread(target=ingest.run_batch, args=("x", at_work))
    with ingest.turns.alone():
        thread.start()
        assert not began.wait(0.2)  # as good as it gets: nothing tells of what does not happen
    thread.join(20)
    assert began.is_set()


def test_the_lease_is_extended_while_the_batch_is_worked_on() -> None:
    slow, batches = SlowEncoder(), LeasedBatch()
    ingest = service(batches, lease_s=0.05, encoder=slow)
    thread = threading.Thread(target=ingest.run_batch, args=("x",))
    thread.start()
    for _ in range(3):
        assert batches.extended.wait(20)
        batches.extended.clear()
    slow.may_go_on.set()
    thread.join(20)
    assert batches.is_done


def test_the_heartbeat_has_the_log_context_of_its_task() -> None:
    task: ContextVar[str] = ContextVar("task", default="none")
    seen: list[str] = []

    class Watched(LeasedBatch):
        def extend(self, batch: ClaimedBatch, lease_s: float) -> bool:
            seen.append(task.get())
            return super().extend(batch, lease_s)

    batches = Watched()
    task.set("mine")
    with leases.LeaseKeeper(cast(Any, batches), cast(Any, batches.claim("x", 0.03)), 0.03):
        assert batches.extended.wait(10)
    assert set(seen) == {"mine"}


def test_a_batch_without_progress_loses_its_lease_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "STALLED_AFTER_S", 0.0)
    batches = LeasedBatch()
    claimed = batches.claim("x", 1)
    assert claimed is not None
    with leases.LeaseKeeper(cast(Any, batches), claimed, 0.01) as keeper:
        keeper._thread.join(20)
        assert not keeper._thread.is_alive()
    assert not batches.extended.is_set()


def test_a_cancelled_batch_is_dropped_between_two_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "CHECK_EVERY_S", 0.0)
    batches = LeasedBatch(items=LONG)

    def cancel(text: str) -> bool:
        batches.is_held, batches.is_done = False, True
        return False

    encoder = FakeEncoder(refuse=cancel)
    ingest = service(batches, encoder=encoder)
    ingest.run_batch("x")
    assert len(encoder.encoded) == 1, "one slice, then no more"
    assert (batches.encoded, batches.faults) == ([], [])
    assert cast(RecordingNotifier, ingest.notifier).published == []


def test_a_stop_returns_the_batch_between_two_slices() -> None:
    batches, encoder = LeasedBatch(items=LONG), FakeEncoder()
    nothing = cast(Any, None)
    ingest = IngestService(
        nothing, cast(Any, batches), nothing, encoder, WholeTextChunker(), ListQueue(),
        RecordingNotifier(), DocumentLimits(), 10, is_stopping=lambda: bool(encoder.encoded),
    )  # fmt: skip
    with pytest.raises(Unavailable, match="stops"):
        ingest.run_batch("x")
    assert len(encoder.encoded) == 1
    assert (batches.is_held, batches.tries) == (False, 0)


def test_a_long_batch_is_encoded_in_slices_and_put_together_again() -> None:
    batches, encoder = LeasedBatch(items=LONG), FakeEncoder()
    service(batches, encoder=encoder).run_batch("x")
    assert batches.encoded == [0, 1, 2, 3]
    assert encoder.encoded == [item.text for item in LONG]


class HalvingChunker:
    """Two passages a document; remembers what it was asked to cut."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def split(self, documents: Sequence[PassageText], settings: CollectionSettings) -> list[tuple[Span, ...]]:
        self.asked += [document.text for document in documents]
        halves = [len(document.text) // 2 for document in documents]
        return [
            (Span(0, half), Span(half, len(document.text)))
            for document, half in zip(documents, halves, strict=True)
        ]


def test_only_documents_too_long_for_one_passage_are_cut() -> None:
    fits = "a " * (COLLECTION.settings.max_tokens - 2)  # the encoder of the test adds two tokens
    too_long = fits + "b "
    items = [WorkItem(i, str(i), "", text) for i, text in enumerate((fits, too_long, "short"))]
    batches, encoder, chunker = LeasedBatch(items=items), FakeEncoder(), HalvingChunker()
    replace(service(batches, encoder=encoder), chunker=chunker).run_batch("x")
    assert chunker.asked == [too_long]
    half = len(too_long) // 2
    assert encoder.encoded == [fits, too_long[:half], too_long[half:], "short"]
    assert batches.encoded == [0, 1, 2]


def metered(batches: LeasedBatch) -> list[object]:
    """What the meter is told of one run."""
    meter = RecordingMeter()
    replace(service(batches), meter=meter).run_batch("x")
    return meter.told


def test_the_meter_is_told_of_each_stage_and_what_it_came_to() -> None:
    assert metered(LeasedBatch(items=ITEMS[:1])) == ["tokenize", "encode", "write", (1, 0)]
    alone = ["tokenize", "tokenize", "encode", "tokenize"]  # all fail at once; then one by one
    assert metered(LeasedBatch()) == [*alone, "write", (1, 1)]
    cut = ["tokenize", "chunk", "tokenize", "encode"]  # too long for one passage
    assert metered(LeasedBatch(items=LONG[:1])) == [*cut, "write", (1, 0)]


def test_the_meter_is_told_of_leases_that_ran_out_or_were_lost_and_of_bisecting() -> None:
    class Lost(LeasedBatch):
        def claim(self, batch_id: str, lease_s: float) -> ClaimedBatch | None:
            batch = super().claim(batch_id, lease_s)
            self.is_held = False  # another has it by the time this one is through
            return None if batch is None else replace(batch, is_taken_over=True)

    assert metered(Lost(items=ITEMS[:1])) == ["took over", "tokenize", "encode", "write", "dropped"]
    assert metered(LeasedBatch(known=BatchStanding.SPENT)) == ["bisected"]
