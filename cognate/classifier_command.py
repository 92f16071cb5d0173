"""`cognate classifier`: asks a running server to train, report on, change and apply classifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cognate.classifier_client import ClassifierClient
from cognate.classifier_tables import (
    comparison_lines,
    comparison_table,
    report_lines,
    report_table,
    versions_table,
)
from cognate.client import Json, RequestFailed
from cognate.labelled_files import read_labelled
from cognate.options import DEFAULT_URL, AsJson, CollectionName, Key, Url
from cognate.progress import finish_job
from cognate.terminal import Terminal

PLOTS = ("confusion", "calibration", "learning_curve")

classifier_app = typer.Typer(no_args_is_help=True, help="Classifiers trained on your own examples.")
console = Terminal(soft_wrap=True, highlight=False)

Name = Annotated[str, typer.Argument(help="Name of the classifier.")]
Version = Annotated[int | None, typer.Option(help="A version; default: the active one.")]


@classifier_app.command()
def train(
    name: Name,
    label_field: Annotated[
        str, typer.Option(help="Column, or metadata field of the collection, with the label.")
    ] = "label",
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help=".csv .tsv .jsonl .json .parquet")
    ] = None,
    text_field: Annotated[str | None, typer.Option(help="Column of the text; guessed when absent.")] = None,
    from_collection: Annotated[
        str | None, typer.Option(help="Train on the labelled documents of a collection, instead of a file.")
    ] = None,
    multi: Annotated[
        bool, typer.Option("--multi-label", "--multi", help="A text may have several labels, or none.")
    ] = False,
    separator: Annotated[str, typer.Option(help="Between several labels in one cell.")] = "",
    head: Annotated[
        str | None, typer.Option(help="logistic, neighbours or prototypes; default: best.")
    ] = None,
    target_precision: Annotated[
        float | None, typer.Option(help="Of the answers that are not abstained.")
    ] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Also tune the encoder, kept if it helps.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Train a classifier on a file or a collection; with neither, again on what is stored."""
    if file and from_collection:
        raise typer.BadParameter("give either --file or --from-collection")
    client = ClassifierClient(url, api_key)
    body: Json = _source(file, text_field, label_field, separator, from_collection, multi)
    given = {"head": head, "target_precision": target_precision}
    options = {key: value for key, value in given.items() if value is not None}
    options |= {"multi_label": True} if multi else {}
    options |= {"fine_tune": True} if fine_tune else {}
    if body or options:
        body["options"] = options
    finish_job(client, client.train(name, body), console, f"training {name}", "examples")
    _print_report(client.report(name, None))


def _source(
    file: Path | None,
    text_field: str | None,
    label_field: str,
    separator: str,
    collection: str | None,
    multi: bool,
) -> Json:
    """The part of the request that tells what to train on."""
    if collection is not None:
        return {"from_collection": {"collection": collection, "label_field": label_field}}
    if file is None:
        return {}
    read = read_labelled(file, text_field, label_field, separator, multi)
    if read.left_out:
        console.print(f"{read.left_out:,} rows have no text or no label and are left out.")
    return {"examples": read.examples}


@classifier_app.command()
def add(
    name: Name,
    texts: Annotated[list[str], typer.Argument(help="The texts; their earlier labels are corrected.")],
    label: Annotated[list[str], typer.Option("--label", "-l", help="Their label; may be a new one.")],
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Add or correct examples of one label; the new head serves at once."""
    examples = [{"text": text, "labels": label} for text in texts]
    _tell_feedback(ClassifierClient(url, api_key).add_examples(name, examples))


@classifier_app.command()
def remove(
    name: Name,
    texts: Annotated[list[str], typer.Argument(help="The texts, as they were sent.")],
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Remove examples; the new head serves at once."""
    answer = ClassifierClient(url, api_key).add_examples(name, [], texts)
    console.print(f"{answer['changes']['removed']:,} of {len(texts):,} were examples and are removed.")
    _tell_feedback(answer)


def _tell_feedback(answer: Json) -> None:
    for problem in answer["changes"]["problems"]:
        console.print(problem, style="yellow")
    if "version" in answer:
        console.print(f"Version {answer['version']['version']} serves.")
    else:
        console.print(f"Stored; training {answer['job']['id']} takes that in.")


@classifier_app.command()
def report(
    name: Name,
    version: Version = None,
    png: Annotated[Path | None, typer.Option(help="Folder for the plots.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Show how good a classifier is: accuracy, calibration, classes, suspicious labels."""
    client = ClassifierClient(url, api_key)
    answer = client.report(name, version)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        _print_report(answer)
    if png is not None:
        _save_plots(client, name, version, png)


def _print_report(answer: Json) -> None:
    for line in report_lines(answer):
        console.print(line)
    console.print(report_table(answer))


def _save_plots(client: ClassifierClient, name: str, version: int | None, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for plot in PLOTS:
        try:
            image = client.plot(name, plot, version)
        except RequestFailed as error:  # few examples have no learning curve
            console.print(f"{plot}: {error}", style="yellow")
            continue
        path = folder / f"{name}-{plot}.png"
        path.write_bytes(image)
        console.print(f"Written: {path}")


@classifier_app.command()
def suggest(
    name: Name,
    collection: CollectionName,
    k: Annotated[int, typer.Option("-k", help="How many documents.")] = 10,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Show the documents whose label would help most."""
    found = ClassifierClient(url, api_key).suggest(name, collection, k)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for one in found:
        console.print(
            f"{one['score']:.3f}  {one['id']}  {one['label']} {one['probability']:.2f}?", style="bold"
        )
        console.print(f"       {' '.join(one['text'].split())[:300]}")


@classifier_app.command("list")
def list_all(url: Url = DEFAULT_URL, api_key: Key = "") -> None:
    """List the classifiers."""
    columns = ("name", "active_version", "examples", "updated_at")
    table = Table(*columns)
    for one in ClassifierClient(url, api_key).classifiers():
        table.add_row(*(str(one[column]) for column in columns))
    console.print(table)


@classifier_app.command()
def versions(name: Name, url: Url = DEFAULT_URL, api_key: Key = "") -> None:
    """List the versions of a classifier, newest first; the active one is marked."""
    console.print(versions_table(ClassifierClient(url, api_key).classifier(name)))


@classifier_app.command()
def compare(
    name: Name,
    first: Annotated[int, typer.Argument(help="Number of a version.")],
    second: Annotated[int, typer.Argument(help="Number of another.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Show what differs between two versions, also in what they say of the examples."""
    compared = ClassifierClient(url, api_key).compare(name, first, second)
    if as_json:
        typer.echo(json.dumps(compared, ensure_ascii=False))
        return
    console.print(comparison_table(compared))
    for line in comparison_lines(compared):
        console.print(line, highlight=False)


@classifier_app.command()
def activate(
    name: Name,
    version: Annotated[int, typer.Argument(help="Number of the version that is to serve.")],
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Let a version serve, an earlier one too: its predictions come back as they were."""
    ClassifierClient(url, api_key).activate(name, version)
    console.print(f"Version {version} of {name} serves.")


@classifier_app.command()
def delete(name: Name, url: Url = DEFAULT_URL, api_key: Key = "") -> None:
    """Delete a classifier with its examples and versions."""
    ClassifierClient(url, api_key).delete_classifier(name)
    console.print(f"Classifier {name} is deleted.")


@classifier_app.command()
def label(
    name: Name,
    collection: CollectionName,
    write_to: Annotated[str, typer.Option(help="Metadata field that gets the label.")],
    on_arrival: Annotated[
        bool, typer.Option("--on-arrival", help="Also label documents that come later.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Hide what documents' own metadata hold in the field.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Label all documents of a collection from their stored vectors."""
    client = ClassifierClient(url, api_key)
    asked = {"classifier": name, "write_to": write_to, "on_arrival": on_arrival, "overwrite": overwrite}
    job = client.label(collection, asked)
    job = finish_job(client, job, console, f"labelling {collection}")
    console.print(f"{job['done']:,} documents have {write_to} and {write_to}_confidence.")


@classifier_app.command()
def rules(
    collection: CollectionName,
    remove: Annotated[str | None, typer.Option(help="Field that is no longer labelled on arrival.")] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="With --remove: take the labels written off again.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """List which fields of a collection are labelled on arrival, and by what; or end one of these rules."""
    client = ClassifierClient(url, api_key)
    if labels and remove is None:
        raise typer.BadParameter("it needs --remove FIELD.", param_hint="--labels")
    if remove is not None:
        if labels:
            job = finish_job(client, client.remove_labels(collection, remove), console, f"clearing {remove}")
            console.print(f"{job['done']:,} documents have no {remove} any more.")
        else:
            client.remove_rule(collection, remove)
        console.print(f"{remove} is no longer labelled on arrival.")
        return
    table = Table("field", "classifier")
    for rule in client.rules(collection):
        table.add_row(rule["write_to"], rule["classifier"])
    console.print(table)
