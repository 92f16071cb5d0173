"""What indexes are told and what they tell: changes, hits, facets, statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from core.types import Float16, Float32, Int64, Metadata, Span


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The present state of one changed document: its passages and vectors, or none when it was removed.

    `passage_ids` is (n,) int64, `vectors` (n, d) float16, `texts` the n texts of the passages. An entry
    replaces all earlier passages of its document, and its metadata.

    `is_held`: the reader told that it holds just these passages, so `vectors`, `title` and `texts` were left
    out; only the metadata are new.
    """

    document_id: int
    seq: int
    passage_ids: Int64
    vectors: Float16
    title: str = ""
    texts: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries in (seq, document_id) order. `applied_seq` is the seq up to which the log is now complete."""

    entries: tuple[LogEntry, ...]
    cursor: tuple[int, int]
    applied_seq: int
    is_last: bool


class IndexHit(NamedTuple):
    """Best passage of one document. A tuple, because a search makes hundreds of them."""

    document_id: int
    passage_id: int
    score: float


FacetValue = str | bool | int | float


@dataclass(frozen=True, slots=True)
class Facet:
    """What values a field has over a set of documents, each with the number of documents that have it.

    `values` are those of most documents, first; `distinct` says how many there are in all. `minimum` and
    `maximum` are of numbers and dates; dates are ISO 8601 text in UTC.
    """

    values: tuple[tuple[FacetValue, int], ...]
    distinct: int
    minimum: FacetValue | None = None
    maximum: FacetValue | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PassageVectors:
    """Stored vectors of m passages: `document_ids` and `passage_ids` (m,), `vectors` (m, d) float32."""

    document_ids: Int64
    passage_ids: Int64
    vectors: Float32


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts of passages, and how well approximate searches do.

    `effort` is a multiple of what searches usually take, raised until `recall_at_10` meets its target; at its
    most, `is_below_target` may remain. `built` is the share (0 to 1) done of an index being built, or None.
    `fields` are the attributes with their types, `unindexed` in how many documents some value of a field is
    not indexed, `beyond_limits` how many documents have fields that are not: they were too many, or of no
    name or too long a one.
    """

    kind: str
    bytes: int
    passages: int
    delta: int
    deleted: int
    recall_at_10: float | None
    applied_seq: int
    effort: float = 1.0
    is_below_target: bool = False
    built: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    unindexed: Mapping[str, int] = field(default_factory=dict)
    beyond_limits: int = 0


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage of a searchable document, as read from the database for display."""

    passage_id: int
    external_id: str
    title: str
    text: str
    span: Span
    metadata: Metadata
