"""`cognate rewrite`: other wordings of texts, verified by the server."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cognate.client import Json, RequestFailed
from cognate.generation_client import GenerationClient
from cognate.options import DEFAULT_URL, AsJson, Key, Url
from cognate.terminal import Terminal

console = Terminal()


def rewrite(
    texts: Annotated[list[str], typer.Argument(help="Texts to rewrite.")],
    task: Annotated[
        str, typer.Option("--task", "-t", help="paraphrase, clean_query, translate_en_es, and others.")
    ] = "paraphrase",
    n: Annotated[int, typer.Option("-n", help="Rewrites a text; fewer come back, not bad ones.")] = 1,
    stream: Annotated[bool, typer.Option("--stream", help="Show one text as it is written.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Rewrite texts: each rewrite is checked against its text, and what fails is not shown."""
    client = GenerationClient(url, api_key)
    if stream:
        if len(texts) != 1 or n != 1 or as_json:
            raise typer.BadParameter("--stream takes one text, without -n and --json")
        _show_stream(client, texts[0], task)
        return
    answer = client.rewrite(texts, task, n)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    for text, result in zip(texts, answer["results"], strict=True):
        console.print(text, highlight=False, style="bold", soft_wrap=True)
        _show(result)


def _show(result: Json) -> None:
    for one in result["rewrites"]:
        near = "     " if one["similarity"] is None else f"{one['similarity']:.3f}"
        console.print(f"{near}  {one['text']}", highlight=False, soft_wrap=True)
    for one in result["dropped"]:
        line = f"dropped: {one['text']} ({one['detail']})"
        console.print(line, highlight=False, style="dim", soft_wrap=True)


def _show_stream(client: GenerationClient, text: str, task: str) -> None:
    for name, told in client.stream_rewrite(text, task):
        if name == "piece":
            console.print(told["text"], end="", highlight=False, soft_wrap=True)
        elif name == "rewrite":
            console.print()
            for one in told["dropped"]:
                console.print(f"It must not be used: {one['detail']}.", style="red")
        else:
            raise RequestFailed(told["detail"])
