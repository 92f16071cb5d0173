"""A process that speaks the protocol of S3, with one empty bucket."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import s3fs

BUCKET = "uploads-of-tests"
START_TIMEOUT_S = 60
CREDENTIALS = {"key": "test", "secret": "test"}
# moto binds port 0 to a free one and tells which in its log.
_SERVE = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """The URL of a server that runs until the end of the `with`."""
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-c", _SERVE], stdout=output, stderr=output)
    try:
        url = _url_of(process, log)
        # Those opened before, by the same settings, would go on asking a server that is gone.
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(**CREDENTIALS, endpoint_url=url, skip_instance_cache=True).mkdir(BUCKET)
        yield url
    finally:
        process.kill()
        process.wait(30)


def _url_of(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                httpx.get(word)
                return word
        time.sleep(0.05)
    raise AssertionError(f"the S3 server did not start: {log.read_text()}")
