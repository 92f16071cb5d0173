"""Every error Cognate raises on purpose. Messages say what was found, what was expected, what to do."""

from __future__ import annotations


class CognateError(Exception):
    """Base of all deliberate errors; `str(error)` is safe to show to a caller.

    `item` is the place of the request at fault among several of one call, where that is known.
    """

    item: int | None = None


class InvalidInput(CognateError):
    """The caller sent something that cannot be accepted; `errors` lists the items at fault."""

    def __init__(self, message: str, errors: list[dict[str, object]] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or []


class TooLarge(CognateError):
    """A body, text or file is over a stated limit."""


class NotFound(CognateError):
    """A named collection, document or job does not exist."""


class CollectionGone(NotFound):
    """A collection was deleted or replaced while it was in use."""


class Conflict(CognateError):
    """The request contradicts what is stored, for example other settings for an existing collection."""


class Overtaken(Conflict):
    """Another process did the same work first; what this one would have written is dropped."""


class ExamplesChanged(Overtaken):
    """Examples came, were corrected or removed since those were read that a version was made of."""


class StorageFull(CognateError):
    """The place where uploads are kept has no room."""


class Overloaded(CognateError):
    """A bounded queue is full; the caller should retry after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(CognateError):
    """A part of the service is stopping, starting or broken."""


class EncoderMismatch(CognateError):
    """Vectors of one encoder met another encoder."""


class SchemaMismatch(CognateError):
    """The database was made by a newer (or unknown) version of the schema."""


class StartRefused(CognateError):
    """The process was asked to start in a way that is unsafe or impossible."""


class CheckpointError(CognateError):
    """A model folder is missing files, is of an unsupported architecture, or is damaged."""
