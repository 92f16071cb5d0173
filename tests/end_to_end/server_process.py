"""A real `cognate serve` process on a free port, to be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
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
        self._process: subprocess.Popen[str] | None = None
        self.http = httpx.Client()

    def start(self) -> None:
        """Returns when the server listens; fails with its output if it ends before."""
        command = [sys.executable, "-m", "cognate", "serve", "--port", "0", "--data-dir", str(self._data_dir)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environment
        )
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            seen.append(line)
            if found := re.match(r"Listening on (\S+)", line):
                self.http = httpx.Client(base_url=found[1], timeout=60)
                return
        raise AssertionError("the server ended: " + "".join(seen))

    def kill(self) -> None:
        """SIGKILL: no handler of ours runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        self.http.close()
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(number)
        process.communicate(timeout=60)
        return process.returncode
