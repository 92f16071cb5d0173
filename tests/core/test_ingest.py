"""Running a batch: whatever fails, the lease comes back, and nothing is tried for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from core.documents import DocumentLimits
from core.errors import Overloaded, Unavailable
from core.ingest import MAX_ATTEMPTS, IngestService
from core.types import (
    ClaimedBatch,
    Collection,
    CollectionSettings,
    EncodedDocument,
    FailedDocument,
    WorkItem,
)
from tests.fakes import FAKE_INFO, FakeEncoder, ListQueue, RecordingNotifier, WholeTextChunker

COLLECTION = Collection(
    1, "u", "news", "", FAKE_INFO, CollectionSettings(), 0, 0, datetime(2030, 1, 1, tzinfo=UTC)
)
ITEMS = (WorkItem(1, "a", "", "one text"), WorkItem(2, "b", "", "poison"))


@dataclass
class LeasedBatch:
    """A store of one batch; `errors` are raised by the next calls of complete, `release_error` by release."""

    attempt: int = 0
    is_held: bool = False
    is_done: bool = False
    errors: list[Exception] = field(default_factory=list)
    release_error: Exception | None = None
    encoded: list[int] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def claim(self, batch_id: str, lease_s: float) -> ClaimedBatch | None:
        if self.is_held or self.is_done:
            return None
        self.attempt, self.is_held = self.attempt + 1, True
        return ClaimedBatch(batch_id, "job", COLLECTION, self.attempt, ITEMS)

    def complete(
        self, batch: ClaimedBatch, encoded: Sequence[EncodedDocument], failed: Sequence[FailedDocument]
    ) -> int | None:
        if self.errors:
            raise self.errors.pop(0)
        self.is_held, self.is_done = False, True
        self.encoded = [document.document_id for document in encoded]
        self.failed = {document.external_id: document.reason for document in failed}
        return 7

    def release(self, batch: ClaimedBatch) -> None:
        if self.release_error:
            raise self.release_error
        self.is_held = False


def service(batches: LeasedBatch, refused: str = "poison") -> IngestService:
    nothing = cast(Any, None)
    encoder = FakeEncoder(refuse=lambda text: text == refused)
    notifier = RecordingNotifier()
    return IngestService(
        nothing, cast(Any, batches), nothing, encoder, WholeTextChunker(), ListQueue(), notifier,
        DocumentLimits(), 10,
    )  # fmt: skip


def test_a_document_that_cannot_be_encoded_fails_alone() -> None:
    batches = LeasedBatch()
    service(batches).run_batch("x")
    assert batches.encoded == [1]
    assert batches.failed == {"b": "could not be embedded: ValueError: this text cannot be encoded"}


@pytest.mark.parametrize("error", [RuntimeError("disk"), Overloaded("busy"), Unavailable("stopping")])
def test_a_batch_that_could_not_be_stored_is_free_for_the_retry_at_once(error: Exception) -> None:
    batches = LeasedBatch(errors=[error])
    ingest = service(batches)
    with pytest.raises(type(error)):
        ingest.run_batch("x")
    assert not batches.is_held
    ingest.run_batch("x")
    assert batches.is_done
    assert batches.encoded == [1]


def test_the_error_that_is_raised_is_the_first_even_if_the_lease_cannot_be_given_back() -> None:
    batches = LeasedBatch(errors=[RuntimeError("first")], release_error=Overloaded("second"))
    with pytest.raises(RuntimeError, match="first"):
        service(batches).run_batch("x")


def test_after_five_attempts_all_documents_fail_with_the_last_reason() -> None:
    batches = LeasedBatch(errors=[RuntimeError(f"disk {i}") for i in range(1, MAX_ATTEMPTS + 1)])
    ingest = service(batches)
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(RuntimeError):
            ingest.run_batch("x")
    ingest.run_batch("x")
    assert batches.is_done
    reason = "could not be stored after 5 attempts: RuntimeError: disk 5"
    assert batches.failed == {"a": reason, "b": reason}
    assert batches.encoded == []
    assert cast(RecordingNotifier, ingest.notifier).published == [(1, 7)]


def test_a_batch_that_cannot_even_be_given_up_is_tried_again() -> None:
    batches = LeasedBatch(attempt=MAX_ATTEMPTS, errors=[RuntimeError("first"), RuntimeError("second")])
    with pytest.raises(RuntimeError, match="first"):
        service(batches).run_batch("x")
    assert not batches.is_held


@pytest.mark.parametrize("error", [Overloaded("busy"), Unavailable("stopping")])
def test_documents_never_fail_for_a_busy_or_stopping_part(error: Exception) -> None:
    batches = LeasedBatch(attempt=100, errors=[error])
    with pytest.raises(type(error)):
        service(batches).run_batch("x")
    assert not batches.is_done
    assert not batches.is_held
