"""`cognate backup`: asks a running server to make, list, verify, restore or delete backups."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from cognate.client import Client
from cognate.options import DEFAULT_URL, Key, Url
from cognate.progress import finish_job
from cognate.terminal import Terminal

backup_app = typer.Typer(no_args_is_help=True, help="Backups of collections, made while the server runs.")
console = Terminal()

Name = Annotated[str, typer.Argument(help="Name of the backup.")]
Only = Annotated[str | None, typer.Option("--collection", "-c", help="One collection; default: all.")]


@backup_app.command()
def create(
    name: Annotated[str | None, typer.Argument(help="Name of the backup; default: the time.")] = None,
    collection: Only = None,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Back up a collection, or all of them, as they are at this moment."""
    client = Client(url, api_key)
    job = finish_job(client, client.create_backup(name, collection), console, "the backup")
    made = client.backup(job["backup"])
    held = f"{job['done']:,} documents, {len(made['classifiers']):,} classifiers"
    console.print(f"Backup {made['name']}: {held}, {made['bytes']:,} bytes.")


@backup_app.command("list")
def list_all(url: Url = DEFAULT_URL, api_key: Key = "") -> None:
    """List the backups, newest first."""
    table = Table(
        Column("name", no_wrap=True),
        "created_at",
        "bytes",
        "documents",
        "collections",
        "classifiers",
        "problem",
    )
    for backup in Client(url, api_key).backups():
        held = backup["collections"]
        documents = sum(one["documents"]["total"] for one in held)
        names = ", ".join(one["name"] for one in held)
        shown = (
            backup["name"],
            backup["created_at"],
            backup["bytes"],
            documents,
            names,
            ", ".join(one["name"] for one in backup["classifiers"]),
            backup["problem"] or "",
        )
        table.add_row(*map(str, shown))
    console.print(table)


@backup_app.command()
def restore(
    name: Name,
    collection: Only = None,
    new_name: Annotated[
        str | None, typer.Option("--as", help="Restore the collection under this name.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Let it take the place of one that exists.")] = False,
    url: Url = DEFAULT_URL,
    api_key: Key = "",
) -> None:
    """Bring back a collection, or all of them and the classifiers; each is seen when it is whole."""
    client = Client(url, api_key)
    job = finish_job(client, client.restore_backup(name, collection, new_name, replace), console, "restoring")
    console.print(f"Restored {job['done']:,} documents.")


@backup_app.command()
def verify(name: Name, url: Url = DEFAULT_URL, api_key: Key = "") -> None:
    """Read a backup to its end and compare all checksums."""
    client = Client(url, api_key)
    job = finish_job(client, client.verify_backup(name), console, "verifying")
    console.print(f"Backup {name} is whole: {job['done']:,} documents.")


@backup_app.command()
def delete(name: Name, url: Url = DEFAULT_URL, api_key: Key = "") -> None:
    """Delete a backup."""
    Client(url, api_key).delete_backup(name)
    console.print(f"Backup {name} is deleted.")
