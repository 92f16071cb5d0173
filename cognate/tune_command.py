"""The commands `quality` and `tune`: what a running server measures on a collection's judgements."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from cognate.client import Client
from cognate.options import DEFAULT_URL, AsJson, CollectionName, Key, Url
from cognate.terminal import Terminal

Rewrite = Annotated[bool, typer.Option("--rewrite", help="With rewrites of the queries too; takes long.")]


def quality(
    collection: CollectionName,
    modes: Annotated[str, typer.Option(help="Search modes, by commas; default: all.")] = "",
    k: Annotated[int, typer.Option("-k", help="Depth of nDCG, recall and MRR.")] = 10,
    rewrite: Rewrite = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Measure how well each search mode ranks a collection's judged queries."""
    answer = Client(url, api_key).quality(collection, modes, k, rewrite)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    console, queries = Terminal(), answer["queries"]
    console.print(_quality_table(answer))
    console.print(
        f"{queries['measured']} of {queries['judged']} judged queries; {queries['without_relevant']} have no"
        " relevant document that is searchable. p: against the best mode.",
        highlight=False,
    )


def tune(
    collection: CollectionName,
    apply: Annotated[bool, typer.Option("--apply", help="Store the choice, if it is better.")] = False,
    folds: Annotated[int, typer.Option(help="Parts of the cross-validation.")] = 5,
    rewrite: Rewrite = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Pick search mode and fusion weight on a collection's judged queries, by cross-validation."""
    answer = Client(url, api_key).tune(collection, apply, folds, rewrite)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    console = Terminal()
    console.print(_settings_table(answer))
    for line in _verdict(answer):
        console.print(line, highlight=False, soft_wrap=True)


def _quality_table(answer: dict[str, Any]) -> Table:
    table = Table("mode")
    rows = {mode: {n: v for n, v in row.items() if n != "worst"} for mode, row in answer["modes"].items()}
    for name in next(iter(rows.values())):
        table.add_column(name, justify="right")
    for mode, row in rows.items():
        style = "bold" if mode == answer["best"] else None
        table.add_row(mode, *(f"{value:.3f}" for value in row.values()), style=style)
    return table


def _settings_table(answer: dict[str, Any]) -> Table:
    table = Table("setting", answer["measure"], "folds that chose it")
    chosen = [shown(fold["chosen"]) for fold in answer["folds"]]
    for setting in answer["settings"]:
        name = shown(setting)
        style = "bold" if name == shown(answer["chosen"]) else None
        table.add_row(name, f"{setting['value']:.4f}", str(chosen.count(name) or ""), style=style)
    return table


def shown(setting: dict[str, Any]) -> str:
    """A setting in a few words, such as `hybrid convex 0.7`."""
    fusion = setting.get("fusion", {})
    rewritten = "rewritten" if setting.get("rewrite") else None
    words = (setting["mode"], fusion.get("method"), fusion.get("dense_weight"), rewritten)
    return " ".join(str(word) for word in words if word is not None)


def _verdict(answer: dict[str, Any]) -> list[str]:
    chosen, present = answer["chosen"], answer["present"]
    lines = [
        f"{answer['queries']} queries, {len(answer['folds'])} folds. Out of fold: chosen settings"
        f" {chosen['out_of_fold']:.4f}, present ({shown(present)}) {present['out_of_fold']:.4f},"
        f" p = {answer['p']:.4f}."
    ]
    if answer["applied"]:
        lines.append(f"Applied: searches that do not say otherwise now use {shown(chosen)}.")
    elif answer["better"]:
        lines.append(f"{shown(chosen)} is better; --apply stores it.")
    else:
        lines.append(f"Nothing is shown to be better than {shown(present)}, which stays.")
    return lines
