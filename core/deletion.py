"""Use case delete by filter: what the index shows to match is deleted from the database."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from core.collections import in_use
from core.errors import Unavailable
from core.filters import Filter
from core.ports.indexes import IndexRegistry
from core.ports.stores import DocumentStore
from core.ports.work import Notifier
from core.types import Collection

log = logging.getLogger(__name__)

CHUNK = 1000  # documents of one transaction: searches and ingestion never wait long for it


@dataclass(frozen=True, slots=True)
class DeletionService:
    """`timeout_s` bounds the wait for the index."""

    documents: DocumentStore
    indexes: IndexRegistry
    notifier: Notifier
    timeout_s: float = 5.0

    def delete_matching(self, collection: Collection, filter_: Filter) -> tuple[int, int]:
        """How many documents were deleted, and the seq of the last change (the head when there was none).

        All that `collection.seq` covers is looked at. Documents that were never searchable are not matched;
        those that changed after the filter was applied, or whose next version waits to be embedded, are
        left as they are: the filter has not seen what they say now. Deletes a chunk a transaction; an
        error leaves the chunks before it deleted, and the same call may be sent again.

        Raises InvalidInput for a filter that does not fit the fields, NotFound when the collection is gone,
        Unavailable when the index does not reach the newest change in time.
        """
        if not self.indexes.wait_for(collection, collection.seq, self.timeout_s):
            with in_use(collection):  # which may be gone: no index follows it then
                self.documents.delete_unchanged(collection.id, (), collection.seq)
            raise Unavailable(
                f"The index has not reached seq {collection.seq} in {self.timeout_s} s; what matches is"
                " not known yet. Retry."
            )
        view = self.indexes.view(collection)
        matching = view.select(filter_).ids().tolist()
        deleted, seq = 0, collection.seq
        for start in range(0, len(matching), CHUNK):
            chunk = matching[start : start + CHUNK]
            with in_use(collection):
                count, seq = self.documents.delete_unchanged(collection.id, chunk, view.seq)
            deleted += count
            self.notifier.publish(collection.id, seq)
        log.info(
            "documents deleted by filter",
            extra={"collection": collection.name, "matching": len(matching), "deleted": deleted},
        )
        return deleted, seq
