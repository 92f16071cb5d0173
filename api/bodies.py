"""Request bodies of the contract. Unknown fields are refused, so that a typo is never ignored; an optional
field that is null counts as not sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from core.backup_types import RestoreRequest
from core.filters import parse_filter
from core.fusion import Fusion, Method
from core.judgements import JudgementLimits, SentQuery, check_counts
from core.search_request import SearchLimits, SearchRequest, WeightedQuery
from core.tune import TuneRequest
from core.types import CollectionSettings, SearchDefaults

T = TypeVar("T")
MAX_UNKNOWN: Final = 100  # fields of an object that are each named as unknown


class StopAtFirst(FailFast):
    """A list stops at its first bad item: many bad ones must not become as many errors."""

    def __hash__(self) -> int:  # types in a union must be hashable, which FailFast is not
        return hash(StopAtFirst)


Items = Annotated[list[T], StopAtFirst()]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_fields(cls, value: Any) -> Any:
        """Leaves out the nulls that many clients send for what is not set.

        An object by id where a list is expected has millions of fields, and an error takes a kilobyte.
        """
        if not isinstance(value, dict):
            return value
        if len(value) > len(cls.model_fields) + MAX_UNKNOWN:
            known = ", ".join(field.alias or name for name, field in cls.model_fields.items())
            raise ValueError(f"has {len(value):,} fields; known are {known}")
        if None in value.values():
            return {name: item for name, item in value.items() if item is not None or cls._takes_null(name)}
        return value

    @classmethod
    def _takes_null(cls, name: str) -> bool:
        """Whether null is for the field to judge: it must be sent, is unknown, or null is its default."""
        field = cls.model_fields.get(name)
        return field is None or field.is_required() or field.default is None


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


class FusionBody(Body):
    """What is left out is the service's default."""

    method: Method | None = None
    dense_weight: float | None = None

    def fusion(self) -> Fusion:
        """Raises InvalidInput."""
        return Fusion(**self.model_dump(exclude_none=True))


class SearchDefaultsBody(Body):
    mode: str | None = Field(default=None, max_length=100)
    fusion: FusionBody | None = None
    rerank: bool | None = None
    rewrite: bool | None = None


class ChangeBody(Body):
    """What is left out stays as it is; `search` replaces all earlier defaults, and null takes them back."""

    description: str | None = Field(default=None, max_length=2000)
    search: SearchDefaultsBody | None = None

    def defaults(self) -> SearchDefaults | None:
        if "search" not in self.model_fields_set:
            return None
        search = self.search or SearchDefaultsBody()
        fusion = search.fusion or FusionBody()
        return SearchDefaults(search.mode, fusion.method, fusion.dense_weight, search.rerank, search.rewrite)


class DocumentsBody(Body):
    """Items are checked one by one in the use case: a bad one never sinks its batch."""

    documents: list[Any] = Field(
        min_length=1,
        description="Objects {id, text, title?, metadata?}; ids are strings of at most 512 bytes.",
        examples=[[{"id": "1", "text": "A first text.", "title": "One", "metadata": {"year": 2026}}]],
    )


class DeleteBody(Body):
    """Exactly one of both. A filter is `{field, eq|ne|in|gt|gte|lt|lte|exists}`, `and`, `or` or `not`."""

    ids: Items[str] | None = Field(default=None, min_length=1, max_length=10_000)
    filter: dict[str, Any] | None = Field(default=None, examples=[{"field": "year", "lt": 2020}])

    @model_validator(mode="after")
    def _check_choice(self) -> DeleteBody:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("send either ids or filter")
        return self


class WeightedQueryBody(Body):
    text: str
    weight: float = 1.0


class SearchBody(Body):
    """Exactly one of query, queries and like."""

    query: str | None = None
    queries: Items[WeightedQueryBody] = Field(default_factory=list, max_length=SearchLimits().max_queries)
    like: Items[str] = Field(default_factory=list, description="Ids of documents; they are left out.")
    k: int = 10
    offset: int = 0
    mode: str | None = Field(default=None, description="hybrid, dense or lexical.")
    filter: Any = Field(default=None, examples=[{"field": "year", "gte": 2020}])
    facets: Items[str] = Field(default_factory=list, description="Fields to count the values of.")
    highlight: bool = True
    min_seq: int | None = Field(default=None, ge=0)
    explain: bool = False
    rerank: bool | None = None
    rewrite: bool | None = Field(default=None, description="Search for other wordings of the query too.")
    fusion: FusionBody | None = None
    score_threshold: float | None = None
    diversity: float = 0.0

    def request(self) -> SearchRequest:
        """Raises InvalidInput for a filter or a fusion that makes no sense."""
        fusion = self.fusion
        return SearchRequest(
            query=self.query,
            k=self.k,
            offset=self.offset,
            mode=self.mode,
            highlight=self.highlight,
            min_seq=self.min_seq,
            explain=self.explain,
            queries=tuple(WeightedQuery(one.text, one.weight) for one in self.queries),
            like=tuple(self.like),
            filter=None if self.filter is None else parse_filter(self.filter),
            facets=tuple(self.facets),
            fusion=None if fusion is None else fusion.fusion(),
            rerank=self.rerank,
            rewrite=self.rewrite,
            score_threshold=self.score_threshold,
            diversity=self.diversity,
        )


class SearchBatchBody(Body):
    searches: Items[SearchBody] = Field(min_length=1, max_length=SearchLimits().max_searches)


class RelevantBody(Body):
    id: str
    relevance: int = 1


class JudgedQueryBody(Body):
    query: str
    relevant: Items[str | RelevantBody]

    def sent(self) -> SentQuery:
        return SentQuery(
            self.query,
            [(item, 1) if isinstance(item, str) else (item.id, item.relevance) for item in self.relevant],
        )


class JudgementsBody(Body):
    """The items are read by `sent`, off the event loop: there may be a hundred thousand."""

    judgements: SkipValidation[Items[JudgedQueryBody]]

    @field_validator("judgements", mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        """Counted before a million of them are read, which takes seconds. Raises TooLarge."""
        if isinstance(value, list):
            relevant = (query.get("relevant") for query in value if isinstance(query, dict))
            judgements = sum(len(ids) for ids in relevant if isinstance(ids, list))
            check_counts(len(value), judgements, JudgementLimits())
        return value

    def sent(self) -> list[SentQuery]:
        """Raises RequestValidationError."""
        try:
            queries = JUDGED_QUERIES.validate_python(self.judgements)
        except ValidationError as error:
            faults = [{**one, "loc": ("body", "judgements", *one["loc"])} for one in error.errors()]
            raise RequestValidationError(faults, body={"judgements": self.judgements}) from None
        return [query.sent() for query in queries]


JUDGED_QUERIES: Final = TypeAdapter(Items[JudgedQueryBody])


class TuneBody(Body):
    apply: bool = Field(default=False, description="Store the choice, if it is better out of fold.")
    folds: int = 5
    seed: int = Field(default=0, ge=0, lt=2**32)
    rewrite: bool = Field(default=False, description="Try rewrites of the queries too; they take long.")

    def request(self) -> TuneRequest:
        return TuneRequest(self.folds, self.seed, self.apply, self.rewrite)


class BackupBody(Body):
    name: str | None = None
    collection: str | None = None


class RestoreBody(Body):
    collection: str | None = None
    new_name: str | None = Field(default=None, alias="as")
    replace: bool = False

    def request(self) -> RestoreRequest:
        return RestoreRequest(self.collection, self.new_name, self.replace)
