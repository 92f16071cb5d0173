"""`cognate copy`: brings what one running instance holds into another, whose encoder may be another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated

import typer

from cognate.client import Json
from cognate.copy_client import CopyClient
from cognate.copying import Copied, Copier, check_apart, failures
from cognate.options import DEFAULT_URL, Key, Url
from cognate.progress import follow_jobs
from cognate.terminal import Terminal

MOST_ERRORS = 10
console = Terminal()


def copy(
    source: Annotated[str, typer.Argument(help="Address of the server to copy from.")],
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", help="Only this one, without classifiers; may be repeated."),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Delete at the target the documents that the source has not.")
    ] = False,
    source_key: Annotated[
        str | None, typer.Option(help="API key of the source; default: that of the target.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Copy what another server holds into this one, which encodes and trains it anew; again: what changed."""
    check_apart(source, url)
    origin = CopyClient(source, api_key if source_key is None else source_key)
    target = CopyClient(url, api_key)
    for server in (origin, target):
        server.check()
    copier = Copier(origin, target, lambda ids, title: follow_jobs(target, ids, console, title))
    is_all = not collection
    names = collection or [one["name"] for one in origin.collections()]
    jobs: list[Json] = []
    for name in names:
        copied = copier.collection(name, with_rules=is_all, is_mirror=mirror)
        _tell(name, copied, target.collection(name)["documents"])
        jobs += copied.jobs
    if is_all:
        jobs += _copy_classifiers(copier, names)
    for told in islice(failures(jobs), MOST_ERRORS):
        console.print(f"  {told}", style="red", highlight=False, soft_wrap=True)
    if any(job["state"] != "succeeded" for job in jobs):
        raise typer.Exit(2)


def _tell(name: str, copied: Copied, there: Json) -> None:
    deleted = f", {copied.deleted:,} deleted" if copied.deleted else ""
    told = (
        f"{name}: {copied.documents:,} documents{deleted}; the target has {there['searchable']:,} searchable"
    )
    console.print(f"{told}, {there['pending']:,} pending, {there['failed']:,} failed.", soft_wrap=True)


def _copy_classifiers(copier: Copier, collections: Sequence[str]) -> list[Json]:
    """The jobs of those that had to be trained, and of the rules that label on arrival."""
    jobs: list[Json] = []
    for name in (one["name"] for one in copier.source.classifiers()):
        job = copier.classifier(name)
        console.print(f"classifier {name}: {'as it is there' if job is None else job['state']}.")
        jobs += [] if job is None else [job]
    if all(job["state"] == "succeeded" for job in jobs):
        for name in collections:
            jobs += copier.rules(name)
    return jobs
