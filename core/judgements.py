"""Use cases on judgements: which documents are relevant to which queries of a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.collections import CollectionService, in_use
from core.documents import DocumentLimits, check_text
from core.errors import InvalidInput, TooLarge
from core.judgement_types import JudgedPage, JudgedQuery, JudgementCounts
from core.ports.stores import JudgementStore
from core.search_request import SearchLimits

MAX_ERRORS = 100


@dataclass(frozen=True, slots=True)
class JudgementLimits:
    """What one collection may hold; sizes are UTF-8 bytes."""

    max_queries: int = 10_000
    max_judgements: int = 100_000
    max_of_query: int = 1_000
    max_relevance: int = 100
    max_query_bytes: int = SearchLimits().max_query_bytes
    max_id_bytes: int = DocumentLimits().max_id_bytes


@dataclass(frozen=True, slots=True)
class SentQuery:
    """A judged query as a caller sent it; the same id may occur twice, which is refused."""

    query: str
    relevant: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class JudgementService:
    """Raises NotFound for a collection that is not there, EncoderMismatch for one of another encoder."""

    collections: CollectionService
    store: JudgementStore
    limits: JudgementLimits

    def replace(self, name: str, sent: Sequence[SentQuery]) -> JudgementCounts:
        """Puts these in the place of all earlier ones, or nothing when anything is wrong with them.

        Ids of documents that are not there are kept, and counted as not found. Raises InvalidInput naming
        the queries at fault, TooLarge over a limit.
        """
        judged = judged_queries(sent, self.limits)
        collection = self.collections.open(name)
        with in_use(collection):
            return self.store.replace(collection.id, judged)

    def clear(self, name: str) -> int:
        """How many judged queries there were."""
        collection = self.collections.open(name)
        with in_use(collection):
            return self.store.clear(collection.id)

    def read(self, name: str, limit: int, after: int | None) -> tuple[JudgementCounts, JudgedPage]:
        collection = self.collections.open(name)
        return self.store.counts(collection.id), self.store.page(collection.id, limit, after)


def judged_queries(sent: Sequence[SentQuery], limits: JudgementLimits) -> list[JudgedQuery]:
    """The queries as they are kept. Raises InvalidInput naming those at fault, TooLarge over a limit."""
    if not sent:
        raise InvalidInput("'judgements' is empty; send at least one query, or DELETE to remove all.")
    check_counts(len(sent), sum(len(query.relevant) for query in sent), limits)
    judged: dict[str, JudgedQuery] = {}
    errors: list[dict[str, object]] = []
    for i, query in enumerate(sent):
        try:
            checked = _judged(query, limits)
            if checked.text in judged:
                raise InvalidInput(
                    f"query {checked.text[:80]!r} occurs twice; send it once with all its documents"
                )
            judged[checked.text] = checked
        except InvalidInput as error:
            errors.append({"field": f"judgements.{i}", "reason": str(error)})
    if errors:
        raise InvalidInput(
            f"{len(errors):,} of {len(sent):,} judged queries cannot be accepted, so none is."
            f" First, {errors[0]['field']}: {errors[0]['reason']}",
            errors[:MAX_ERRORS],
        )
    return list(judged.values())


def check_counts(queries: int, judgements: int, limits: JudgementLimits) -> None:
    """Raises TooLarge for more than one collection holds."""
    _refuse_more(queries, limits.max_queries, "judged queries")
    _refuse_more(judgements, limits.max_judgements, "judgements")


def _judged(sent: SentQuery, limits: JudgementLimits) -> JudgedQuery:
    size = len(check_text(sent.query, "'query'"))
    if not sent.query.strip():
        raise InvalidInput("'query' is empty; say what was searched for")
    if size > limits.max_query_bytes:
        raise InvalidInput(f"'query' has {size:,} bytes; the limit is {limits.max_query_bytes:,}")
    return JudgedQuery(sent.query, _relevance(sent.relevant, limits))


def _relevance(sent: Sequence[tuple[str, int]], limits: JudgementLimits) -> Mapping[str, int]:
    if not 1 <= len(sent) <= limits.max_of_query:
        raise InvalidInput(
            f"'relevant' names {len(sent):,} documents; it must be 1 to {limits.max_of_query:,}"
            " (leave a query out that has no relevant document: it cannot be measured)"
        )
    relevance: dict[str, int] = {}
    for external_id, grade in sent:
        size = len(check_text(external_id, "an id"))
        if not 1 <= size <= limits.max_id_bytes:
            raise InvalidInput(f"an id has {size:,} bytes; it must be 1 to {limits.max_id_bytes}")
        if not 0 <= grade <= limits.max_relevance:
            raise InvalidInput(
                f"relevance of {external_id[:80]!r} is {grade}; it must be 0 (judged not relevant) to"
                f" {limits.max_relevance}"
            )
        if external_id in relevance:
            raise InvalidInput(f"document {external_id[:80]!r} occurs twice")
        relevance[external_id] = grade
    if not any(relevance.values()):
        raise InvalidInput("every relevance is 0; at least one document must be relevant")
    return relevance


def _refuse_more(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise TooLarge(f"{count:,} {what} were sent; a collection holds {limit:,}.")
