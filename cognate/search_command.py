"""`cognate search`: one query and what answers it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cognate.client import Client, Json
from cognate.options import DEFAULT_URL, AsJson, CollectionName, Key, Url
from cognate.terminal import Terminal

TEXT_SHOWN = 300  # characters of a passage
WORDS_SHOWN = 5  # of an explanation

console = Terminal()


def search(
    query: str,
    collection: CollectionName,
    k: Annotated[int, typer.Option("-k", help="How many documents.")] = 10,
    offset: Annotated[int, typer.Option(help="How many to leave out before them.")] = 0,
    mode: Annotated[str | None, typer.Option(help="hybrid, dense or lexical.")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help='As JSON: \'{"field": "year", "gte": 2020}\'.')
    ] = None,
    facets: Annotated[
        list[str] | None, typer.Option("--facet", help="Count the values of a field; may be repeated.")
    ] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Order the best hits by the reranker.")] = False,
    rewrite: Annotated[
        bool, typer.Option("--rewrite", help="Search for other wordings of the query too.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show which words made a passage similar.")
    ] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Find the documents that answer a query, by words and by meaning."""
    asked = {
        "mode": mode,
        "offset": offset,
        "filter": None if filter_ is None else _read_json(filter_, "--filter"),
        "facets": facets,
        "rerank": rerank,
        "rewrite": rewrite,
        "explain": explain,
    }
    options = {name: value for name, value in asked.items() if value not in (None, False, 0)}
    answer = Client(url, api_key).search(collection, query, k, **options)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    for wording in answer.get("rewrites", ()):
        console.print(f"also: {wording['text']}", highlight=False, style="dim")
    for hit in answer["hits"]:
        _show(hit)
    for field, facet in answer.get("facets", {}).items():
        console.print(_facet_line(field, facet), highlight=False)
    console.print(f"{len(answer['hits'])} hits in {answer['took_ms']['total']:.1f} ms")


def _show(hit: Json) -> None:
    console.print(f"{hit['score']:.3f}  {hit['id']}  {hit['title']}", style="bold")
    text = " ".join(hit["passage"]["text"].split())[:TEXT_SHOWN]
    console.print(f"       {text}", highlight=False)
    if "explanation" in hit:
        words = sorted(hit["explanation"]["words"], key=lambda word: -word["contribution"])[:WORDS_SHOWN]
        shown = ", ".join(f"{word['text']} {word['contribution']:+.3f}" for word in words)
        console.print(f"       similar by: {shown}", highlight=False, style="dim")


def _facet_line(field: str, facet: Json) -> str:
    counts = ", ".join(f"{one['value']} ({one['count']:,})" for one in facet["values"])
    others = facet["distinct"] - len(facet["values"])
    return f"{field}: {counts or 'no values'}" + (f", and {others:,} others" if others else "")


def _read_json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; {option} takes JSON.") from None
