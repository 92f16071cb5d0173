"""`cognate classify`: labels for texts or a whole file, by label names alone or by a trained classifier."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from cognate.classifier_client import ClassifierClient
from cognate.client import Json, in_batches
from cognate.labelled_files import read_texts
from cognate.options import DEFAULT_URL, AsJson, Key, Url
from cognate.terminal import Terminal

BATCH = 256
BATCH_EXPLAINED = 32
BATCH_TOGETHER = 2048  # texts that help each other; as many as a call may have
TOKENS_SHOWN = 5
NEIGHBOURS_SHOWN = 3
COLUMNS = ("id", "text", "label", "labels", "score", "abstained")

Write = Callable[[Json], None]
Answer = Callable[[Sequence[str]], list[Json]]


def classify(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to classify.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help=".csv .tsv .jsonl .json .parquet, instead of texts."),
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="Column of the text; guessed when absent.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="A label; may be repeated.")
    ] = None,
    labels: Annotated[str, typer.Option(help="Labels by commas, instead.")] = "",
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="A text may have several labels; with labels.")
    ] = False,
    none_of_these: Annotated[
        bool, typer.Option("--none-of-these", help="No label may fit; with labels.")
    ] = False,
    template: Annotated[
        list[str] | None, typer.Option(help="A sentence with {} for a label's name; may be repeated.")
    ] = None,
    transductive: Annotated[
        bool, typer.Option("--transductive", help=f"Texts help each other, up to {BATCH_TOGETHER:,}.")
    ] = False,
    classifier: Annotated[str | None, typer.Option(help="A trained classifier, instead of labels.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=".jsonl (all that was answered) or .csv; default: the terminal."),
    ] = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Why: tokens and nearest examples; with --classifier.")
    ] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Classify texts by label names alone (zero-shot), or with a trained classifier."""
    names = [*(label or ()), *(name.strip() for name in labels.split(",") if name.strip())]
    if bool(names) == bool(classifier):
        raise typer.BadParameter("give either labels (-l or --labels) or --classifier")
    if bool(texts) == bool(file):
        raise typer.BadParameter("give either texts or --file")
    if evidence and not classifier:
        raise typer.BadParameter("--evidence goes with --classifier")
    options = _options(multi_label, none_of_these, template, transductive)
    if options and classifier:
        raise typer.BadParameter(f"--{next(iter(options)).replace('_', '-')} goes with labels")
    client = ClassifierClient(url, api_key)
    answer = (
        _by_classifier(client, classifier, evidence) if classifier else _by_labels(client, names, options)
    )
    _check_output(output, file)
    rows = _rows(texts or [], file, text_field)
    batches = together(rows) if transductive else in_batches(rows, BATCH_EXPLAINED if evidence else BATCH)
    results = _results(batches, answer)
    first = list(islice(results, 1))  # before that a file of earlier results is not touched
    with _writer(output, as_json) as write:
        for row in chain(first, results):
            write(row)


def _options(multi_label: bool, none_of_these: bool, templates: list[str] | None, transductive: bool) -> Json:
    """What the request says of how texts are compared to labels; what was not given is left out."""
    given = {
        "multi_label": multi_label,
        "none_of_these": none_of_these,
        "templates": templates,
        "transductive": transductive,
    }
    return {name: value for name, value in given.items() if value}


def _by_labels(client: ClassifierClient, labels: list[str], options: Json) -> Answer:
    told: set[str] = set()

    def answer(texts: Sequence[str]) -> list[Json]:
        answered = client.classify(texts, labels, options)
        if (note := answered.get("note")) and not told:  # once, not for each batch
            told.add(note)
            typer.echo(note, err=True)
        return list(answered["results"])

    return answer


def _by_classifier(client: ClassifierClient, classifier: str, evidence: bool) -> Answer:
    return lambda texts: list(client.classify_with(classifier, texts, evidence)["results"])


def _rows(texts: Sequence[str], file: Path | None, text_field: str | None) -> Iterable[Json]:
    if file is not None:
        return read_texts(file, text_field)
    return ({"id": str(i), "text": text} for i, text in enumerate(texts, start=1))


def together(rows: Iterable[Json], size: int = BATCH_TOGETHER) -> Iterator[list[Json]]:
    """Batches of at most `size` rows that help each other: the last two are alike, so that none is small."""
    waiting: list[Json] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == 2 * size:
            yield waiting[:size]
            del waiting[:size]
    share = len(waiting) if len(waiting) <= size else -(-len(waiting) // 2)
    yield from in_batches(waiting, max(share, 1))


def _results(batches: Iterable[list[Json]], answer: Answer) -> Iterator[Json]:
    for batch in batches:
        for row, result in zip(batch, answer([row["text"] for row in batch]), strict=True):
            yield {**row, **result}


def _check_output(output: Path | None, source: Path | None) -> None:
    """Refuses what results cannot be written to, before any is asked for."""
    if output is None:
        return
    if output.suffix not in (".jsonl", ".csv"):
        raise typer.BadParameter(
            f"{output.name}: results are written as .jsonl or .csv", param_hint="--output"
        )
    if source is not None and output.exists() and output.samefile(source):
        raise typer.BadParameter(
            f"{output.name} is the file that is read; write the results to another", param_hint="--output"
        )
    output.open("a").close()


@contextmanager
def _writer(output: Path | None, as_json: bool) -> Iterator[Write]:
    """What takes the results, one at a time."""
    if output is None:
        yield _print_json if as_json else _print
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        if output.suffix == ".jsonl":
            yield lambda row: print(json.dumps(row, ensure_ascii=False), file=file)
            return
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        yield lambda row: table.writerow(table_row(row))


def _print_json(row: Json) -> None:
    typer.echo(json.dumps(row, ensure_ascii=False))


def _print(row: Json) -> None:
    console = Terminal(soft_wrap=True, highlight=False)
    told = f"  ({row.get('reason', 'abstained')})" if row["abstained"] else ""
    console.print(f"{given_labels(row) or 'none'}  {row['score']:.3f}{told}  {row['text']}")
    for line in evidence_lines(row.get("evidence")):
        console.print(f"    {line}")


def given_labels(result: Json) -> str:
    """The labels that a result gives; empty where none was chosen."""
    return ", ".join(result["labels"])


def table_row(row: Json) -> Json:
    """A result for a table: `label` is the most probable of its `labels` with its `score`.

    Where no label was chosen both are empty, and `score` is that of the most probable one.
    """
    best = max(row["labels"], key=lambda label: float(row["scores"][label]), default="")
    return {
        **row,
        "label": best,
        "labels": given_labels(row),
        "score": row["scores"].get(best, row["score"]),
    }


def evidence_lines(evidence: dict[str, Any] | None) -> Iterator[str]:
    """The tokens that add most, and the nearest examples."""
    if evidence is None:
        return
    strongest = sorted(evidence["tokens"], key=lambda token: -abs(token["contribution"]))[:TOKENS_SHOWN]
    if strongest:
        yield "tokens: " + ", ".join(f"{one['text']} {one['contribution']:+.2f}" for one in strongest)
    for one in evidence["neighbours"][:NEIGHBOURS_SHOWN]:
        text = " ".join(one["text"].split())[:100]
        yield f"like {one['similarity']:.2f}  {', '.join(one['labels'])}: {text}"
