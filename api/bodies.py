"""Request bodies of the contract. Unknown fields are refused, so that a typo is never ignored."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.search import SearchRequest
from core.types import CollectionSettings, Label


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ChunkingBody(Body):
    max_tokens: int = CollectionSettings().max_tokens
    overlap_tokens: int | None = None


class CollectionBody(Body):
    description: str = Field(default="", max_length=2000)
    encoder: str | None = None
    language: str = Field(default="en", pattern=r"^[a-z]{2}$")
    chunking: ChunkingBody = ChunkingBody()
    index: str = Field(default="auto", max_length=200)
    attributes: dict[str, str] = Field(default_factory=dict)

    def settings(self) -> CollectionSettings:
        """An overlap not given is the default one, or an eighth of the passage if that is less."""
        chunking = self.chunking
        overlap = chunking.overlap_tokens
        if overlap is None:
            overlap = min(CollectionSettings().overlap_tokens, chunking.max_tokens // 8)
        return CollectionSettings(chunking.max_tokens, overlap, self.index, self.language, self.attributes)


class DocumentsBody(Body):
    """Items are checked one by one in the use case: a bad one never sinks its batch."""

    documents: list[Any] = Field(
        min_length=1,
        description="Objects {id, text, title?, metadata?}; ids are strings of at most 512 bytes.",
        examples=[[{"id": "1", "text": "A first text.", "title": "One", "metadata": {"year": 2026}}]],
    )


class DeleteBody(Body):
    ids: list[str] = Field(min_length=1, max_length=10_000)


class SearchBody(Body):
    query: str
    k: int = 10
    offset: int = 0
    mode: str = "dense"
    highlight: bool = True
    min_seq: int | None = Field(default=None, ge=0)

    def request(self) -> SearchRequest:
        return SearchRequest(self.query, self.k, self.offset, self.mode, self.highlight, self.min_seq)


class SearchBatchBody(Body):
    searches: list[SearchBody] = Field(min_length=1)


class LabelBody(Body):
    name: str
    description: str = ""
    examples: list[str] = Field(default_factory=list)

    def label(self) -> Label:
        return Label(self.name, self.description, tuple(self.examples))


class ClassifyBody(Body):
    texts: list[str]
    labels: list[str | LabelBody]

    def typed_labels(self) -> list[Label]:
        return [Label(item) if isinstance(item, str) else item.label() for item in self.labels]
