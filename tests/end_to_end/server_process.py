"""A real `cognate serve` process on a free port, to be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

START_TIMEOUT_S = 60


class ServerProcess:
    """Runs on one data folder; each start may get another port."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self._data_dir = data_dir
        self._environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "COGNATE_LOG_LEVEL": "WARNING",
            **{f"COGNATE_{name.upper()}": value for name, value in settings.items()},
        }
        self._log = data_dir.with_name(f"{data_dir.name}-{id(self)}.log")
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client()

    def start(self) -> None:
        """Returns when the server listens; fails with its output if it ends before."""
        command = [sys.executable, "-m", "cognate", "serve", "--port", "0", "--data-dir", str(self._data_dir)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"^Listening on (\S+)$", self._log.read_text(), re.MULTILINE):
                self.http = httpx.Client(base_url=found[1], timeout=60)
                return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the server did not start: {self._log.read_text()}")

    def kill(self) -> None:
        """SIGKILL: no handler of ours runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            self.http.close()
            return 0
        process, self._process = self._process, None
        process.send_signal(number)  # before the connections end: requests in progress are cut by it
        self.http.close()
        process.wait(60)
        return process.returncode
