"""Options that commands share which talk to a running server."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[str, typer.Option(envvar="COGNATE_URL", help="Address of the server.")]
Key = Annotated[str, typer.Option(envvar="COGNATE_API_KEY", help="API key of the server.")]
CollectionName = Annotated[str, typer.Option("--collection", "-c", help="Name of the collection.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's JSON.")]
DEFAULT_URL = "http://127.0.0.1:8000"
