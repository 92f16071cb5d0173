"""The command line: serve, worker, scheduler, demo, ingest, search, classify, explain, rewrite, classifier,
jobs, db, backup, copy, bench, eval, eval-generator, quality, tune, topics, train.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from cognate import __version__
from cognate.backup_command import backup_app
from cognate.classifier_command import classifier_app
from cognate.classify_command import classify
from cognate.client import Client, RequestFailed, is_over
from cognate.copy_command import copy
from cognate.eval_command import evaluate
from cognate.eval_generator_command import evaluate_generator
from cognate.explain_command import explain
from cognate.leaving import unwound_by_sigterm
from cognate.options import DEFAULT_URL, CollectionName, Key, Url
from cognate.rewrite_command import rewrite
from cognate.search_command import search
from cognate.settings import LogLevel, read_settings, unknown_variables
from cognate.terminal import Terminal
from cognate.topics_command import topics
from cognate.train_command import train_app
from cognate.train_generator_command import train_generator
from cognate.tune_command import quality, tune
from core.errors import CognateError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
database = typer.Typer(no_args_is_help=True, help="The database schema.")
app.add_typer(database, name="db")
app.add_typer(train_app, name="train")
app.add_typer(backup_app, name="backup")
app.add_typer(classifier_app, name="classifier")
app.command("eval")(evaluate)
app.command("eval-generator")(evaluate_generator)
train_app.command("generator")(train_generator)
app.command()(copy)
app.command()(search)
app.command()(classify)
app.command()(explain)
app.command()(rewrite)
app.command()(quality)
app.command()(tune)
app.command()(topics)
console = Terminal()

JOBS_WIDTH = 140
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Host = Annotated[str | None, typer.Option(help="Address to bind.")]
Port = Annotated[int | None, typer.Option(help="Port to bind; 0 takes any free one.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of database, snapshots and uploads.")]


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"cognate {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """Semantic search and classification."""


def main() -> None:
    """Entry point; deliberate errors are one line on stderr and exit status 1."""
    os.umask(0o077)  # what we write is for the user alone
    try:
        app()
    except CognateError as error:
        _end(str(error))
    except OSError as error:
        if error.filename is not None:
            _end(f"{error.filename}: {error.strerror}.")
        if error.errno in NO_ROOM:
            _end(f"Nothing more can be written: {error.strerror}.")
        raise  # of no file that somebody named
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":
            _end(
                f"The output is written in {error.encoding}, which has not all its characters; set"
                " PYTHONIOENCODING=utf-8."
            )
        _end("An argument or a file name has bytes that are not UTF-8; write it in UTF-8.")


def _end(reason: str) -> NoReturn:
    Terminal(stderr=True).print(f"error: {reason}", style="red", highlight=False, soft_wrap=True)
    raise SystemExit(1) from None


@app.command()
def serve(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Serve the HTTP API; with COGNATE_REDIS_URL its tasks go to workers."""
    from cognate import (
        bootstrap,
        leaving,
        logs,
        server,
    )  # heavy rooms are loaded by the commands that need them

    settings = read_settings(host=host, port=port, data_dir=data_dir)
    logs.begin(settings.log_level, settings.log_format, unknown_variables())
    listener = server.bind(settings)
    if not settings.keys:
        typer.echo("No API keys are set: only this machine can connect (loopback).")
    try:
        with bootstrap.open_runtime(settings) as services:
            typer.echo(f"Listening on {server.url_of(listener)}")
            server.serve_forever(server.make_app(services, settings), listener)
    except SystemExit as ended:
        leaving.leave_if_busy(ended)
        raise


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="Queues to work on, by commas; default: all.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Work on tasks from Redis: one encoder, fed by several threads."""
    from cognate import logs
    from cognate.broker import broker_settings

    settings = read_settings(data_dir=data_dir)
    logs.begin(settings.log_level, settings.log_format, unknown_variables())
    broker_settings(settings)  # refuses before anything heavy is loaded
    from cognate.worker import work_forever

    raise SystemExit(work_forever(settings, tuple(name for name in queues.split(",") if name)))


@app.command()
def scheduler() -> None:
    """Send the periodic tasks to the workers: the sweep of unfinished work, and purging."""
    from cognate import logs
    from cognate.broker import schedule_forever

    settings = read_settings()
    logs.begin(settings.log_level, settings.log_format, unknown_variables())
    schedule_forever(settings)


@app.command()
def demo(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    stay: Annotated[bool, typer.Option(help="Leave the server running.")] = True,
) -> None:
    """Ingest the Python standard library's docstrings, answer sample questions, keep serving."""
    from cognate import logs
    from cognate.demo import run_demo

    settings = read_settings(host=host, port=port, data_dir=data_dir)
    logs.configure(LogLevel.WARNING, settings.log_format)
    run_demo(settings, console, stay)


@app.command()
def ingest(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help=".csv .tsv .jsonl .json .parquet")
    ],
    collection: CollectionName,
    id_field: Annotated[str | None, typer.Option(help="Column of the id; guessed when absent.")] = None,
    text_field: Annotated[str | None, typer.Option(help="Column of the text; guessed when absent.")] = None,
    title_field: Annotated[str | None, typer.Option(help="Column of the title; guessed when absent.")] = None,
    metadata_fields: Annotated[
        str | None, typer.Option(help="Columns, by commas; default: the rest.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Import a file into a collection, which is created if need be."""
    from cognate.import_check import check_readable  # reads Parquet, with a library that takes a while
    from cognate.progress import follow_jobs, summarise

    client = Client(url, api_key)
    given = {
        "id_field": id_field,
        "text_field": text_field,
        "title_field": title_field,
        "metadata_fields": metadata_fields,
    }
    try:
        client.collection(collection)
    except RequestFailed:
        check_readable(file, given)
        client.create_collection(collection)
    job = client.upload(collection, file, {name: value for name, value in given.items() if value})
    told = f"Fields: {json.dumps(job['fields'], ensure_ascii=False)}"
    console.print(told, highlight=False, soft_wrap=True)
    if not summarise(follow_jobs(client, [job["id"]], console, file.name), console):
        raise typer.Exit(2)


@app.command()
def jobs(
    job_id: Annotated[str | None, typer.Argument(help="One job with its errors.")] = None,
    cancel: Annotated[bool, typer.Option(help="Cancel that job.")] = False,
    follow: Annotated[
        bool, typer.Option(help="Show that job's progress; status 2 if it does not succeed.")
    ] = False,
    state: Annotated[str | None, typer.Option(help="List only jobs in this state, such as failed.")] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """List jobs, or show, follow or cancel one."""
    from cognate.progress import follow_jobs, summarise

    if job_id is None and (cancel or follow):
        option = "--cancel" if cancel else "--follow"
        raise typer.BadParameter(f"{option} takes the id of a job: cognate jobs ID {option}")
    client = Client(url, api_key)
    if job_id is None:
        listed = client.jobs(state=state)
        _print_jobs(listed)
        for row in listed:
            for error in row["errors"][:1]:
                told = f"{row['id']}: {error['reason']}"
                console.print(told, style="red", highlight=False, soft_wrap=True)
        return
    job = client.cancel(job_id) if cancel else client.job(job_id)
    if follow and not is_over(job):
        job = follow_jobs(client, [job_id], console, job["kind"])[0]
    _print_jobs([job])
    if not summarise([job], console) and follow:
        raise typer.Exit(2)


def _print_jobs(rows: list[dict[str, Any]]) -> None:
    """Wider than a narrow terminal if need be: ids are to be copied whole."""
    columns = ("id", "kind", "collection", "state", "total", "done", "failed", "created_at")
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Terminal(width=max(console.width, JOBS_WIDTH)).print(table)


@database.command()
def upgrade(data_dir: DataDir = None) -> None:
    """Bring the database schema to this version."""
    from cognate.bootstrap import upgrade_schema

    upgrade_schema(read_settings(data_dir=data_dir))
    console.print("The database has the schema of this version.")


@app.command()
def bench(
    corpus: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSONL with id, title, text; .gz too.")
    ],
    limit: Annotated[int, typer.Option(help="Documents to ingest.")] = 5000,
    seconds: Annotated[float, typer.Option(help="Length of each search run.")] = 10.0,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Measure a running server: ingest rate, search rate and latencies, with and without ingest under way.

    The collections that it makes for that are deleted at the end.
    """
    from cognate.load import bench_server, report_table

    with unwound_by_sigterm():
        report = bench_server(url, api_key, corpus, limit, seconds)
    console.print(report_table(report))
