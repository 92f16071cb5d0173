"""The nouns of Cognate as plain frozen types; they cross every room."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float16 = npt.NDArray[np.float16]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Metadata = Mapping[str, Any]


class DocumentState(StrEnum):
    """A document is exactly one of these; the counts of the first three always add up to the total."""

    PENDING = "pending"
    SEARCHABLE = "searchable"
    FAILED = "failed"
    DELETED = "deleted"


class Lane(StrEnum):
    """Priority of work in the engine: interactive goes before bulk between micro-batches."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Identity of an encoder; `fingerprint` is a sha256 over all that changes its vectors."""

    id: str
    fingerprint: str
    dim: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class RerankerInfo:
    """Identity of a reranker. `is_bi_encoder`: it compares embeddings and reads no pair together."""

    id: str
    fingerprint: str
    max_tokens: int
    is_bi_encoder: bool


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """What a collection fixes at creation. Token counts include title and special tokens."""

    max_tokens: int = 256
    overlap_tokens: int = 32
    index: str = "auto"
    language: str = "en"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """How a collection is searched when a request does not say; None leaves it to the service's defaults."""

    mode: str | None = None
    fusion_method: str | None = None
    dense_weight: float | None = None
    rerank: bool | None = None
    rewrite: bool | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents embedded by one encoder. `seq` is the head of its change log."""

    id: int
    uid: str
    name: str
    description: str
    encoder: EncoderInfo
    settings: CollectionSettings
    seq: int
    purged_seq: int
    created_at: datetime
    search: SearchDefaults = SearchDefaults()


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """`updates_pending` are those of the searchable ones whose new content waits to be encoded."""

    searchable: int = 0
    pending: int = 0
    failed: int = 0
    passages: int = 0
    updates_pending: int = 0

    @property
    def total(self) -> int:
        return self.searchable + self.pending + self.failed


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A validated document as a caller sent it."""

    external_id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """sha256 of what is encoded: equal hashes need no encoding."""
        title = self.title.encode()
        return hashlib.sha256(b"%d:%s%s" % (len(title), title, self.text.encode())).hexdigest()

    @property
    def metadata_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """An item that never became a document, or a document that failed, and why."""

    id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document. `title`, `text` and `metadata` are of the newest accepted version.

    `is_update_pending`: that version waits to be encoded, and searches still see the one before.
    """

    external_id: str
    title: str
    text: str
    metadata: Metadata
    state: DocumentState
    reason: str | None
    seq: int
    job_id: str | None
    updated_at: datetime
    is_update_pending: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open character range [start, end) of a text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PassageText:
    """What is encoded for a passage: the document's title, then the passage's own text."""

    title: str
    text: str
