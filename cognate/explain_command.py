"""`cognate explain`: why a text or document is near to a query, or why a text has its label."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cognate.client import Json
from cognate.generation_client import GenerationClient
from cognate.options import DEFAULT_URL, AsJson, Key, Url
from cognate.terminal import Terminal

TOKENS_SHOWN = 8

console = Terminal()


def explain(
    query: Annotated[str, typer.Argument(help="The query; with labels or a classifier, the text.")],
    text: Annotated[str | None, typer.Option(help="A text to compare the query with.")] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Collection of the document.")
    ] = None,
    document: Annotated[str | None, typer.Option("--id", help="Id of the document.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="A label; give it twice or more.")
    ] = None,
    classifier: Annotated[str | None, typer.Option(help="A trained classifier.")] = None,
    generate: Annotated[
        bool, typer.Option("--generate", help="Have the sentence written; it is verified first.")
    ] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Explain a similarity or a label by the words that make it, and by a sentence."""
    named: Json = {"text": text, "collection": collection, "id": document}
    if label or classifier:
        if any(value is not None for value in named.values()):
            raise typer.BadParameter("--text, --collection and --id go with a query, not with labels")
        named = {"text": query, "labels": label or None, "classifier": classifier}
    else:
        named["query"] = query
    body = {name: value for name, value in named.items() if value is not None}
    answer = GenerationClient(url, api_key).explain({**body, "generate": generate})
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    _show(answer)


def _show(answer: Json) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(text, highlight=False, soft_wrap=True, style=style)

    name = f"{answer['label']} ({answer['probability']:.3f})" if "label" in answer else "score"
    line(f"{name}  {answer['score']:.3f}", "bold")
    if "scores" in answer:
        line(f"in the search: {_scores(answer['scores'])}")
    words = sorted(answer["words" if "words" in answer else "tokens"], key=lambda word: -word["contribution"])
    shown = ", ".join(f"{word['text']} {word['contribution']:+.3f}" for word in words[:TOKENS_SHOWN])
    line(answer.get("note") or f"by: {shown}", "dim")
    why = answer["why"]
    line(f"why ({why['kind']}): {why['text']}")
    if "refused" in why:
        line(f"no generated sentence: {why['refused']}", "dim")


def _scores(scores: dict[str, Any]) -> str:
    parts = [f"{n} {v['score']:.3f} (rank {v['rank']})" for n, v in scores.items() if isinstance(v, dict)]
    return ", ".join([f"rank {scores['rank']} with {scores['score']:.3f}", *parts])
