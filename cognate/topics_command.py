"""`cognate topics`: what a collection on a running server is about."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from cognate.client import Client, Json
from cognate.options import DEFAULT_URL, AsJson, CollectionName, Key, Url
from cognate.terminal import Terminal

TERMS_SHOWN = 8


def topics(
    collection: CollectionName,
    k: Annotated[int | None, typer.Option("-k", help="How many; default: by the collection's size.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Show what a collection is about: groups of documents, with names, words and a central document."""
    answer = Client(url, api_key).topics(collection, k, TERMS_SHOWN)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    console = Terminal()
    console.print(_table(answer))
    console.print(
        f"{answer['documents']:,} documents, {len(answer['topics'])} topics, {answer['took_ms']:.0f} ms",
        highlight=False,
    )


def _table(answer: Json) -> Table:
    table = Table("size", "topic", "words", "central document")
    for topic in answer["topics"]:
        words = ", ".join(term["text"] for term in topic["terms"])
        central = topic["documents"][0] if topic["documents"] else {"title": "", "id": ""}
        cells = (topic["name"], words, central["title"] or central["id"])
        table.add_row(f"{topic['size']:,}", *cells)
    return table
