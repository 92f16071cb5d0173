"""docs/operations.md names nothing that does not exist, and no metric is missing from it."""

from __future__ import annotations

import ast
import re
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import yaml
from prometheus_client import CollectorRegistry

from api.metrics import Metrics
from cognate.collectors import EncoderCollector, GaugesCollector, IndexCollector, ProgressCollector
from cognate.metrics import (
    ClassifierMetrics,
    GenerationMetrics,
    IngestMetrics,
    ScheduleMetrics,
    new_registry,
)
from cognate.production import RedisBackground
from cognate.settings import Settings
from core.job_types import JobState
from storage.progress_state import ProgressState
from tests.fakes import FakeEncoder
from tests.test_architecture import ROOMS, ROOT, modules_of

PAGE = (ROOT / "docs/operations.md").read_text()
# Their limits are nobody's but the reader's.
WITHOUT_A_RULE = {
    "cognate_ingest_results_dropped_total",
    "cognate_rewrites_dropped_total",
    "cognate_encoder_failed_batches_total",
    "cognate_search_stage_seconds",
}
LABELS = {"job", "task", "state", "outcome", "status", "route", "lane"}
OF_COMPOSE = re.findall(r"\$\{(COGNATE_\w+)", (ROOT / "docker-compose.yml").read_text())


def exposed(source: CollectorRegistry) -> set[str]:
    """Names as Prometheus shows them: of counters with _total, of histograms without their suffixes."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in source.collect()
        if family.name != "python_info"
    }


def every_metric() -> set[str]:
    registry, state = CollectorRegistry(), ProgressState(0, 0, 0, 0.0, dict.fromkeys(JobState, 0))
    IngestMetrics(registry), ClassifierMetrics(registry), ScheduleMetrics(registry)
    GenerationMetrics(registry)
    with ExitStack() as stack:
        settings = Settings(redis_url="redis://127.0.0.1:1/0", database_url="postgresql://nobody@nowhere/x")
        database = cast(Any, SimpleNamespace(now=None))  # nothing is asked of it
        background = RedisBackground(settings, database, stack)  # connects when it is first used
        for collector in (
            EncoderCollector(FakeEncoder().stats),
            IndexCollector(dict, dict, lambda: 0),
            ProgressCollector(lambda: state),
            GaugesCollector(background.gauges),
        ):
            registry.register(collector)
        return exposed(Metrics(registry).registry)


def test_every_metric_is_on_the_page_and_every_one_on_the_page_exists() -> None:
    assert set(re.findall(r"\bcognate_\w+", PAGE)) == every_metric()
    assert set(re.findall(r"\bprocess_\w+", PAGE)) <= exposed(new_registry())


def test_every_alert_is_of_metrics_and_labels_that_exist_and_every_metric_with_an_alert_has_one() -> None:
    (group,) = yaml.safe_load((ROOT / "docs/alerts.yml").read_text())["groups"]
    rules = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert len(rules) == len(group["rules"])
    named = {
        name.removesuffix("_bucket") for rule in rules.values() for name in re.findall(r"\bcognate_\w+", rule)
    }
    assert named <= every_metric()
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `cognate_")]
    wanted = {row[1].strip(" `") for row in rows if len(row) == 6 and row[4].strip()}
    assert named <= wanted
    assert wanted - named == WITHOUT_A_RULE
    assert set(re.findall(r'[{,](\w+)=~?"', " ".join(rules.values()))) <= LABELS


def test_every_setting_on_the_page_exists() -> None:
    known = {f"COGNATE_{name.upper()}" for name in Settings.model_fields} | set(OF_COMPOSE)
    assert set(re.findall(r"\bCOGNATE_\w+", PAGE)) <= known


def test_every_log_line_on_the_page_is_one_of_ours() -> None:
    named = set(re.findall(r'log "([^"]+)"', PAGE)) | set(
        re.findall(r'^    \w+ +"([^"]+)"', PAGE, re.MULTILINE)
    )
    assert len(named) > 15
    assert named <= {line for room in ROOMS for path in modules_of(room) for line in logged(path)}


def logged(path: Path) -> set[str]:
    """The constant messages of the calls of a logger in a module."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("debug", "info", "warning", "error", "critical", "exception")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
