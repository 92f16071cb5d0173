"""Copies collections and classifiers between instances, over HTTP: the encoders of both may differ.

Whatever is copied already costs no encoding, so a copy that is made again brings only what changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cognate.client import Json, RequestFailed, in_batches
from cognate.copy_client import CopyClient
from core.annotations import CONFIDENCE_SUFFIX
from core.errors import InvalidInput

DELETED_AT_ONCE = 1_000
Follow = Callable[[Sequence[str], str], list[Json]]


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of one collection: `documents` were sent, `deleted` are gone at the target."""

    documents: int
    deleted: int
    jobs: list[Json]


@dataclass(frozen=True, slots=True)
class Copier:
    """`follow` waits for jobs of the target: their ids and a title -> the jobs at their end."""

    source: CopyClient
    target: CopyClient
    follow: Follow

    def collection(self, name: str, with_rules: bool, is_mirror: bool) -> Copied:
        """Settings (of one that is not there yet), documents and judgements.

        With rules, what they wrote is left out, since the target's own classifiers write it. `is_mirror`
        also deletes at the target what the source does not have. Raises NotFound through the server's words.
        """
        self._make(self.source.collection(name))
        labels = labelled_fields(self.source.rules(name)) if with_rules else frozenset()
        ids: set[str] = set()
        job_ids: list[str] = []
        for page in self.source.documents(name):
            if page:
                job_ids.append(self.target.add(name, [_document(one, labels) for one in page])["id"])
                ids.update(one["id"] for one in page)
        jobs = self.follow(job_ids, name)
        deleted = self._delete_others(name, ids) if is_mirror else 0
        judgements = self.source.judgements(name)
        if judgements:
            self.target.put_judgements(name, judgements)
        return Copied(len(ids), deleted, jobs)

    def classifier(self, name: str) -> Json | None:
        """The job that trains it at the target; None where its examples and options are there already."""
        body = training_of(self.source.classifier(name), self.source.examples(name))
        if any(one["name"] == name for one in self.target.classifiers()):
            there = self.target.classifier(name)
            is_trained = there["active_version"] is not None
            if is_trained and training_of(there, self.target.examples(name)) == body:
                return None
        return self.follow([self.target.train(name, body)["id"]], f"classifier {name}")[0]

    def rules(self, collection: str) -> list[Json]:
        """The jobs that label the collection by the source's rules that the target has not yet."""
        there = self.target.rules(collection)
        jobs = []
        for rule in self.source.rules(collection):
            if rule not in there:
                job = self.target.label(collection, {**rule, "on_arrival": True})
                jobs += self.follow([job["id"]], f"{collection}: {rule['write_to']}")
        return jobs

    def _make(self, shown: Json) -> None:
        try:
            self.target.collection(shown["name"])
            return
        except RequestFailed:  # not there; what else it may be is told again below
            kept = ("description", "language", "chunking", "attributes")
            self.target.make_collection(shown["name"], {field: shown[field] for field in kept})
        if shown["search"]:
            self.target.set_search(shown["name"], shown["search"])

    def _delete_others(self, name: str, ids: set[str]) -> int:
        """Before anything is deleted all is listed, so that pages do not move while they are read."""
        others = [one["id"] for page in self.target.documents(name) for one in page if one["id"] not in ids]
        return sum(self.target.delete_documents(name, some) for some in in_batches(others, DELETED_AT_ONCE))


def check_apart(source: str, target: str) -> None:
    """Raises InvalidInput where both addresses are one."""
    if source.rstrip("/") == target.rstrip("/"):
        raise InvalidInput(f"{source} is both the source and the target; name two servers.")


def labelled_fields(rules: Sequence[Json]) -> frozenset[str]:
    """The metadata fields that classifiers write by these rules."""
    return frozenset(
        field for rule in rules for field in (rule["write_to"], rule["write_to"] + CONFIDENCE_SUFFIX)
    )


def training_of(classifier: Json, examples: Sequence[Json]) -> Json:
    """The body that trains a classifier like this one."""
    options = {name: value for name, value in classifier["options"].items() if value is not None}
    by_text = sorted(examples, key=lambda one: str(one["text"]))
    return {"examples": by_text, "labels": classifier["labels"], "options": options}


def _document(shown: Json, left_out: frozenset[str]) -> Json:
    metadata = {name: value for name, value in shown["metadata"].items() if name not in left_out}
    return {"id": shown["id"], "title": shown["title"], "text": shown["text"], "metadata": metadata}


def failures(jobs: Sequence[Json]) -> Iterator[str]:
    """A line for each error of the jobs."""
    for job in jobs:
        for error in job["errors"]:
            yield f"{error['id']}: {error['reason']}" if error["id"] else str(error["reason"])
