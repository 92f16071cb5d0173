"""Other wordings of a query, for a search that asks all of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from core.errors import InvalidInput
from core.facts import squeezed
from core.generation_types import GenerationTask
from core.rewrite import RewriteService

# How many wordings each task gives. Cleaning comes first: what it took out should not come back.
WORDINGS: Final = ((GenerationTask.CLEAN_QUERY, 1), (GenerationTask.PARAPHRASE, 2))
REMEMBERED: Final = 1024  # queries


@dataclass(frozen=True, slots=True)
class QueryRewrite:
    """A wording of the query, and the task that made it."""

    text: str
    task: GenerationTask


_OWN: Final = QueryRewrite("", GenerationTask.CLEAN_QUERY)  # stands for the query itself


class QueryRewriter(Protocol):
    def rewrites(self, queries: Sequence[str]) -> list[tuple[QueryRewrite, ...]]:
        """For each query distinct wordings other than its own; none where none can be trusted.

        Raises Overloaded and Unavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class GeneratedRewrites:
    """Implements QueryRewriter; the wordings of the queries asked last are remembered."""

    rewriting: RewriteService
    _known: OrderedDict[str, tuple[QueryRewrite, ...]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rewrites(self, queries: Sequence[str]) -> list[tuple[QueryRewrite, ...]]:
        found = {query: known for query in queries if (known := self._recalled(query)) is not None}
        new = [query for query in dict.fromkeys(queries) if query not in found]
        size = self.rewriting.limits.max_texts
        for start in range(0, len(new), size):
            part = new[start : start + size]
            found.update(zip(part, self._made(part), strict=True))
        self._remember({query: found[query] for query in new})
        return [found[query] for query in queries]

    def _recalled(self, query: str) -> tuple[QueryRewrite, ...] | None:
        with self._lock:
            if query in self._known:
                self._known.move_to_end(query)
            return self._known.get(query)

    def _remember(self, made: Mapping[str, tuple[QueryRewrite, ...]]) -> None:
        with self._lock:
            self._known.update(made)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _made(self, queries: Sequence[str]) -> list[tuple[QueryRewrite, ...]]:
        known = {standing.task for standing in self.rewriting.generation.info.tasks}
        made: list[dict[str, QueryRewrite]] = [{squeezed(query): _OWN} for query in queries]
        for task, count in WORDINGS:
            texts = self._texts(queries, task, count) if task in known else []
            for of_query, found in zip(made, texts, strict=False):
                for text in found:
                    of_query.setdefault(squeezed(text), QueryRewrite(text, task))
        return [tuple(one for one in of_query.values() if one is not _OWN) for of_query in made]

    def _texts(self, queries: Sequence[str], task: GenerationTask, count: int) -> list[list[str]]:
        """Of each query; none for one that the generator cannot read."""
        try:
            rewritten = self.rewriting.rewrite(queries, task, count)
        except InvalidInput:
            if len(queries) == 1:
                return [[]]
            return [texts for query in queries for texts in self._texts([query], task, count)]
        return [[rewrite.text for rewrite in one.rewrites] for one in rewritten]
