"""Starts a server on a fresh data folder and measures it with a JSONL corpus; prints one table.

python -m benchmarks.service CORPUS.jsonl.gz [--limit 5000] [--seconds 10] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from cognate.load import bench_server, report_table


@contextmanager
def running_server(data_dir: Path) -> Iterator[str]:
    """The URL of a `cognate serve` process on a free port."""
    command = [sys.executable, "-m", "cognate", "serve", "--port", "0", "--data-dir", str(data_dir)]
    environment = {**os.environ, "COGNATE_LOG_LEVEL": "WARNING", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.match(r"Listening on (\S+)", line):
                yield found[1]
                return
        raise SystemExit("The server ended before it was listening.")
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--limit", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as url:
        report = bench_server(url, "", arguments.corpus, arguments.limit, arguments.seconds)
    if arguments.json:
        print(json.dumps(asdict(report)))
    else:
        Console().print(report_table(report))


if __name__ == "__main__":
    main()
