"""Request bodies of the contract. Unknown fields are refused, so that a typo is never ignored."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from core.backup_types import RestoreRequest
from core.classify import ClassifyLimits
from core.search import SearchLimits, SearchRequest
from core.types import CollectionSettings, Label

T = TypeVar("T")


class StopAtFirst(FailFast):
    """A list stops at its first bad item: many bad ones must not become as many errors."""

    def __hash__(self) -> int:  # types in a union must be hashable, which FailFast is not
        return hash(StopAtFirst)


Items = Annotated[list[T], StopAtFirst()]


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
    ids: Items[str] = Field(min_length=1, max_length=10_000)


class SearchBody(Body):
    query: str
    k: int = 10
    offset: int = 0
    mode: str = "dense"
    highlight: bool = True
    min_seq: int | None = Field(default=None, ge=0)
    explain: bool = False

    def request(self) -> SearchRequest:
        return SearchRequest(
            self.query, self.k, self.offset, self.mode, self.highlight, self.min_seq, self.explain
        )


class SearchBatchBody(Body):
    searches: Items[SearchBody] = Field(min_length=1, max_length=SearchLimits().max_searches)


class LabelBody(Body):
    name: str
    description: str = ""
    examples: Items[str] = Field(default_factory=list)

    def label(self) -> Label:
        return Label(self.name, self.description, tuple(self.examples))


class ClassifyBody(Body):
    texts: Items[str] = Field(max_length=ClassifyLimits().max_texts)
    labels: Items[str | LabelBody] = Field(max_length=ClassifyLimits().max_labels)

    def typed_labels(self) -> list[Label]:
        return [Label(item) if isinstance(item, str) else item.label() for item in self.labels]


class ExplainBody(Body):
    """Either a document of a collection, or a text with an optional title."""

    query: str
    collection: str | None = None
    id: str | None = None
    text: str | None = None
    title: str = ""
    matrix: bool = Field(default=False, description="Also the contributions of each pair of tokens.")

    @model_validator(mode="after")
    def _check_target(self) -> ExplainBody:
        of_document = (
            self.collection is not None and self.id is not None and self.text is None and not self.title
        )
        of_text = self.text is not None and self.collection is None and self.id is None
        if not (of_document or of_text):
            raise ValueError("send either collection and id, or text (and title)")
        return self


class BackupBody(Body):
    name: str | None = None
    collection: str | None = None


class RestoreBody(Body):
    collection: str | None = None
    new_name: str | None = Field(default=None, alias="as")
    replace: bool = False

    def request(self) -> RestoreRequest:
        return RestoreRequest(self.collection, self.new_name, self.replace)
