"""The commands `quality` and `tune` against an in-process server whose search has all modes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from cognate import tune_command
from cognate.bootstrap import open_runtime
from cognate.cli import app
from cognate.client import Client, RequestFailed
from cognate.server import make_app
from cognate.settings import Settings
from core.quality import QualityLimits, QualityService
from tests.cognate.near import bring_near
from tests.core.judged_world import JudgedWorld, mixed_world
from tests.core.test_tune import service
from tests.fakes import FakeEncoder


@pytest.fixture
def world() -> JudgedWorld:
    return mixed_world(100, weight=0.3)


@pytest.fixture
def server(world: JudgedWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the commands talk to; its measuring is that of the known world."""
    settings = Settings(data_dir=tmp_path / "data")
    with open_runtime(settings, FakeEncoder()) as services:
        measured = QualityService(world.judged_search(), QualityLimits())
        running = make_app(replace(services, tune=service(world), quality=measured), settings)
        with TestClient(running, "http://127.0.0.1") as http:
            bring_near(monkeypatch, http, Client, tune_command)
            yield


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "-c", "news"], env={"COLUMNS": "120"}, catch_exceptions=False)


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


@pytest.mark.usefixtures("server")
def test_quality_shows_a_row_a_mode_and_how_many_queries(world: JudgedWorld) -> None:
    shown = run("quality", "--modes", "dense,lexical", "-k", "5")
    assert shown.exit_code == 0
    for words in ("dense", "lexical", "nDCG@5", "recall@100", "100 of 102 judged queries; 2 have no"):
        assert words in shown.stdout
    assert "hybrid" not in shown.stdout
    assert told("quality")["best"] == "hybrid"


@pytest.mark.usefixtures("server")
def test_tune_shows_what_it_tried_and_applies_only_when_asked(world: JudgedWorld) -> None:
    shown = run("tune")
    for words in ("hybrid convex 0.3", "hybrid rrf", "100 queries, 5 folds", "is better; --apply stores it"):
        assert words in shown.stdout
    assert told("tune")["applied"] is False
    assert (
        "Applied: searches that do not say otherwise now use hybrid convex 0.3"
        in run("tune", "--apply").stdout
    )
    assert world.collection.search.dense_weight == 0.3
    assert "Nothing is shown to be better than hybrid convex 0.3, which stays." in run("tune").stdout


@pytest.mark.usefixtures("server")
def test_the_json_tells_all_of_it() -> None:
    body = told("tune", "--folds", "4", "--apply")
    assert body["chosen"]["fusion"] == {"method": "convex", "dense_weight": 0.3}
    assert body["chosen"]["out_of_fold"] > body["present"]["out_of_fold"]
    assert body["search"] == {"mode": "hybrid", "fusion": body["chosen"]["fusion"]}
    assert [fold["queries"] for fold in body["folds"]] == [25] * 4
    assert {"mode": "hybrid", "fusion": {"method": "rrf"}} in [
        {name: value for name, value in setting.items() if name != "value"} for setting in body["settings"]
    ]
    assert (body["measure"], body["better"], body["applied"]) == ("nDCG@10", True, True)


@pytest.mark.usefixtures("server")
def test_too_few_queries_are_the_servers_words(world: JudgedWorld) -> None:
    del world.queries[15:]
    with pytest.raises(RequestFailed, match="15 judged queries that can be measured"):
        run("tune")
