"""What an operator sees of real processes: metrics, log lines that name their request, orderly ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import conninfo_to_dict

from cognate.server import GRACE_S
from storage.acceptance import MAX_BATCH_DOCUMENTS
from tests.postgres import PostgresServer
from tests.production.conftest import running_deployment
from tests.production.processes import Api, Deployment, Process, free_port
from tests.production.traffic import create, job_of, some_documents
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
LONGEST_SCRAPE_S = 5.0


@dataclass(frozen=True, slots=True)
class Operated:
    """A deployment with one process of each kind; the worker and the scheduler serve metrics on ports."""

    deployment: Deployment
    api: Api
    worker: Process
    scheduler: Process
    worker_metrics: str
    scheduler_metrics: str
    bulk_tokens_when_ready: float

    def lines(self, process: Process, **fields: str) -> list[dict[str, Any]]:
        """The log lines of a process that have all these fields."""
        parsed = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
        return [line for line in parsed if fields.items() <= line.items()]

    def execute(self, statement: str, database: str | None = None) -> None:
        url = self.deployment.database_url.replace("+psycopg", "")
        named = {} if database is None else {"dbname": database}
        with psycopg.connect(url, autocommit=True, **named) as connection:  # type: ignore[arg-type]  # as the driver takes them
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def operated(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder: Path = tmp_path_factory.mktemp("operated")
    with running_deployment(postgres, folder) as deployment:
        ports = free_port(), free_port()
        api = deployment.api(log_format="json")
        worker = deployment.worker(log_format="json", metrics_port=str(ports[0]))
        scheduler = deployment.scheduler(log_format="json", metrics_port=str(ports[1]))
        deployment.start(api, scheduler, worker)
        worker_metrics, scheduler_metrics = (f"http://127.0.0.1:{port}/metrics" for port in ports)
        tokens = value(scrape(worker_metrics), "cognate_encoder_tokens_total", lane="bulk")
        create(api.http)
        yield Operated(deployment, api, worker, scheduler, worker_metrics, scheduler_metrics, tokens)


def scrape(url: str, http: httpx.Client | None = None) -> Samples:
    """Every sample by name and labels."""
    answer = (http or httpx).get(url, timeout=LONGEST_SCRAPE_S).raise_for_status()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def wait_until_followed(operated: Operated) -> None:
    def lag() -> float:
        return value(scrape("/metrics", operated.api.http), "cognate_index_lag_changes", collection="c")

    wait_until(lambda: lag() == 0, "the index has caught up")


def send(api: Api, request_id: str, number: int, size: int) -> str:
    """Id of the job of some documents, once it is over."""
    body, headers = {"documents": some_documents(number, size)}, {"X-Request-ID": request_id}
    answer = api.http.post("/v1/collections/c/documents", json=body, headers=headers).raise_for_status()
    return finished(api, answer)


def finished(api: Api, answer: httpx.Response) -> str:
    job_id = str(answer.json()["job"]["id"])
    wait_until(lambda: job_of(api.http, job_id)["state"] == "succeeded", "the job succeeds")
    return job_id


def test_a_ready_worker_has_compiled_its_bulk_encoder(operated: Operated) -> None:
    assert operated.bulk_tokens_when_ready > 0


def test_one_request_id_finds_the_whole_way_of_documents(operated: Operated) -> None:
    job_id = send(operated.api, "request-of-documents", 0, 300)
    mine = {"request_id": "request-of-documents", "job_id": job_id}
    (accepted,) = operated.lines(operated.api, event="job accepted", **mine)
    assert (accepted["documents"], accepted["batches"]) == (300, 2)
    assert operated.lines(operated.api, event="request", request_id=mine["request_id"])[0]["status"] == 202
    done = operated.lines(operated.worker, event="batch done", **mine)
    assert sorted(line["searchable"] for line in done) == [300 - MAX_BATCH_DOCUMENTS, MAX_BATCH_DOCUMENTS]
    assert len({line["batch_id"] for line in done}) == 2


def test_one_request_id_finds_the_whole_way_of_an_import(operated: Operated) -> None:
    rows = "".join(f"i{i},Row {i} of a file\n" for i in range(50))
    answer = operated.api.http.post(
        "/v1/collections/c/import",
        files={"file": ("rows.csv", f"id,text\n{rows}")},
        headers={"X-Request-ID": "request-of-a-file"},
    )
    job_id = finished(operated.api, answer.raise_for_status())
    mine = {"request_id": "request-of-a-file", "job_id": job_id}
    assert operated.lines(operated.api, event="import accepted", **mine)
    assert operated.lines(operated.worker, event="import read", **mine)[0]["rows"] == 50
    assert operated.lines(operated.worker, event="batch done", **mine)[0]["searchable"] == 50


def test_the_metrics_of_all_processes_tell_of_the_work(operated: Operated) -> None:
    before, at_api = scrape(operated.worker_metrics), scrape("/metrics", operated.api.http)
    send(operated.api, "counted", 1, 300)
    after = before

    def is_counted() -> bool:
        nonlocal after
        after = scrape(operated.worker_metrics)  # what was committed is counted a moment later
        return grew("cognate_ingest_documents_total", outcome="searchable") == 300

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    wait_until(is_counted, "the documents are counted")
    assert grew("cognate_ingest_documents_total", outcome="failed") == 0
    for stage in ("tokenize", "encode", "write"):
        assert grew("cognate_ingest_stage_seconds_count", stage=stage) == 2
        assert grew("cognate_ingest_stage_seconds_sum", stage=stage) > 0
    assert grew("cognate_encoder_tokens_total", lane="bulk") > 300 * 5
    assert grew("cognate_encoder_wait_seconds_count", lane="bulk") >= 2
    assert grew("cognate_encoder_wait_seconds_bucket", lane="bulk", le="+Inf") >= 2
    assert value(after, "process_resident_memory_bytes") > 0
    assert value(scrape(operated.scheduler_metrics), "cognate_scheduler_sent_total", task="cognate.sweep") > 0

    api = scrape("/metrics", operated.api.http)
    succeeded = value(api, "cognate_jobs", state="succeeded")
    assert succeeded == value(at_api, "cognate_jobs", state="succeeded") + 1
    assert value(api, "cognate_jobs", state="failed") == 0
    assert value(api, "cognate_queued_batches") == value(api, "cognate_running_batches") == 0
    assert value(api, "cognate_oldest_waiting_batch_age_seconds") == 0
    assert value(api, "cognate_database_up") == value(api, "cognate_queue_reachable") == 1
    operated.api.http.post("/v1/collections/c/search", json={"query": "topic"}).raise_for_status()

    wait_until_followed(operated)
    api = scrape("/metrics", operated.api.http)
    assert value(api, "cognate_ingest_stage_seconds_count", stage="index") > 0
    assert value(api, "cognate_ingest_stage_seconds_count", stage="accept") > 0
    assert value(api, "cognate_search_stage_seconds_count", stage="encode") > 0


def test_a_lease_that_ran_out_is_seen_and_its_takeover_counted(operated: Operated) -> None:
    before = value(scrape(operated.worker_metrics), "cognate_ingest_leases_taken_over_total")
    assert operated.worker.stop() == 0
    body = {"documents": some_documents(2, 1)}
    answer = operated.api.http.post("/v1/collections/c/documents", json=body).raise_for_status()
    operated.execute(
        "UPDATE batches SET state = 'running', attempt = 1, created_at = now() - interval '1 hour',"
        " lease_until = now() - interval '1 minute' WHERE state = 'queued'"
    )
    seen = scrape("/metrics", operated.api.http)
    assert value(seen, "cognate_running_batches") == value(seen, "cognate_expired_leases") == 1
    assert 3600 <= value(seen, "cognate_oldest_waiting_batch_age_seconds") < 3700
    operated.worker.start()
    finished(operated.api, answer)
    assert before == 0
    assert value(scrape(operated.worker_metrics), "cognate_ingest_leases_taken_over_total") == 1
    assert operated.lines(operated.worker, event="lease ran out, batch taken over")


def test_metrics_are_served_while_the_database_is_away(operated: Operated) -> None:
    name = conninfo_to_dict(operated.deployment.database_url.replace("+psycopg", ""))["dbname"]
    wait_until_followed(operated)
    operated.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", database="postgres")
    try:
        operated.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'", "postgres"
        )
        started_s = time.monotonic()
        away = scrape("/metrics", operated.api.http)
        assert time.monotonic() - started_s < LONGEST_SCRAPE_S
        assert value(away, "cognate_database_up") == 0
        assert not any(sample == "cognate_queued_batches" for sample, _ in away)
        assert value(away, "cognate_index_lag_changes", collection="c") == 0
        assert value(scrape(operated.worker_metrics), "process_open_fds") > 0
    finally:
        operated.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true", database="postgres")
    wait_until(lambda: value(scrape("/metrics", operated.api.http), "cognate_database_up") == 1, "it is back")


def test_every_process_ends_soon_with_status_0_when_told_to(operated: Operated) -> None:
    for process, last in ((operated.scheduler, "scheduler ended"), (operated.worker, "worker ended")):
        assert process.stop() == 0, process.output()
        assert operated.lines(process, event=last)
    url, body = (
        f"{operated.api.http.base_url}/v1/collections/c/documents",
        {"documents": some_documents(3, 1)},
    )
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(httpx.post, url, params={"wait": True}, json=body, timeout=60)
        wait_until(
            lambda: value(scrape("/metrics", operated.api.http), "cognate_queued_batches") == 1, "it waits"
        )
        started_s = time.monotonic()
        assert operated.api.stop() == 0
        assert time.monotonic() - started_s < GRACE_S, "who waits for a job must not hold up the end"
        assert waiting.result().status_code == 202
