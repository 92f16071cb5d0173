"""Reports survive their file; comparisons show differences and p-values; the command runs whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from classifier.zero_shot import ZeroShotScorer
from cognate import eval_command
from core.errors import CognateError, InvalidInput
from evaluation.comparison import compare
from evaluation.datasets import load_data_set
from evaluation.results import Measure, Report, Result, read_report, write_report
from evaluation.run import check_names
from evaluation.systems import EncoderSystem, System
from evaluation.tables import comparison_table, report_table
from tests.evaluation.data import write_beir, write_pairs
from tests.fakes import FakeEncoder


def report_of(name: str, items: dict[str, float], f1: float = 0.5) -> Report:
    value = sum(items.values()) / len(items)
    measures = (Measure("accuracy", value, 0.01, items), Measure("macro-F1", f1))
    return Report(
        name, {"precision": "f32"}, (Result("made-up", "classification", measures, ("a note",), 1.0),)
    )


def printed(table: Table) -> str:
    out = StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


BETTER = {f"{i}": 1.0 for i in range(20)}
WORSE = {f"{i}": float(i < 5) for i in range(20)}


def test_a_report_read_back_is_the_report_written(tmp_path: Path) -> None:
    report = report_of("model", BETTER)
    write_report(report, tmp_path / "out.json", differences=[])

    assert read_report(tmp_path / "out.json") == report


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "other/1"}', '{"format": "cognate-eval/1"}'])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out.json"
    path.write_text(content)

    with pytest.raises(InvalidInput, match=r"out.json is no report of an evaluation"):
        read_report(path)


def test_a_comparison_has_differences_and_a_p_value_where_there_are_items() -> None:
    accuracy, f1 = compare(report_of("A", BETTER, 0.6), report_of("B", WORSE, 0.5))

    assert (accuracy.ours, accuracy.theirs, accuracy.difference) == (1.0, 0.25, 0.75)
    assert accuracy.p is not None
    assert accuracy.p < 0.001
    assert f1.difference == pytest.approx(0.1)
    assert f1.p is None


def test_systems_measured_on_other_data_are_not_compared() -> None:
    with pytest.raises(InvalidInput, match=r"made-up, accuracy: .*different items \(20 and 1"):
        compare(report_of("A", BETTER), report_of("B", {"0": 1.0}))
    with pytest.raises(InvalidInput, match=r"share no measure"):
        compare(report_of("A", BETTER), Report("B", {}, ()))


def test_the_tables_show_values_notes_differences_and_the_method() -> None:
    ours, theirs = report_of("A", BETTER), report_of("B", WORSE)

    alone = printed(report_table(ours))
    both = printed(comparison_table(ours, theirs, compare(ours, theirs)))

    assert "made-up: a note" in alone
    assert "1.0000" in alone
    assert "+0.7500" in both
    assert "paired randomisation test" in both


def test_two_paths_of_one_name_are_refused(tmp_path: Path) -> None:
    data = load_data_set(write_beir(tmp_path / "tiny"))

    with pytest.raises(InvalidInput, match="named 'tiny/test'"):
        check_names([data, data])


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The command, with a fake encoder in place of every model folder."""

    @contextmanager
    def open_fake(model: str, options: eval_command.Options) -> Iterator[System]:
        yield EncoderSystem(model, FakeEncoder(), lambda encoder: ZeroShotScorer(encoder, 0.05))

    monkeypatch.setattr(eval_command, "_open_folder", open_fake)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(eval_command.evaluate)
    return app


def test_the_command_measures_writes_and_compares(tmp_path: Path, command: typer.Typer) -> None:
    paths = [str(write_beir(tmp_path / "tiny")), str(write_pairs(tmp_path / "pairs.jsonl"))]
    first, second = str(tmp_path / "first.json"), str(tmp_path / "second.json")

    alone = CliRunner().invoke(command, [*paths, "--json", first])
    both = CliRunner().invoke(command, [*paths, "--json", second, "--compare", first])

    assert (alone.exit_code, both.exit_code) == (0, 0), both.output
    assert "tiny/test: nDCG@10 1.0000, recall@100 1.0000" in alone.output
    assert "Spearman" in both.output
    body = json.loads(Path(second).read_text())
    assert body["results"][0]["measures"][0]["items"] == dict.fromkeys(["q0", "q1", "q2", "q4"], 1.0)
    assert [row["p"] for row in body["differences"]] == [1.0] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "f64"], "--precision is 'f64'; use f32 or bf16"),
        (["--backend", "gpu"], "--backend is 'gpu'; use openvino or torch"),
        (["--model", "nowhere"], "nowhere does not exist; name a model folder"),
        (["--compare", "nowhere.json"], "nowhere.json does not exist; name a model folder"),
        (["--json", "nowhere/x.json"], "nowhere/x.json is no file: the folder .*nowhere does not exist"),
        (["--json", "."], r"\. is a folder; name a file"),
        (["--model", "http://127.0.0.1:9"], "No answer from http://127.0.0.1:9"),
    ],
)
def test_the_command_refuses_what_cannot_be(tmp_path: Path, arguments: list[str], message: str) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(eval_command.evaluate)

    with pytest.raises(CognateError, match=message):
        CliRunner().invoke(app, [str(write_beir(tmp_path / "tiny")), *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("backend", "arithmetic"), [("openvino", "int8"), ("torch", "f32"), ("cuda", "bf16")]
)
def test_a_report_names_the_arithmetic_of_the_backend(backend: str, arithmetic: str) -> None:
    options = eval_command.Options("int8", backend, 0, None, "")
    assert options.of_folder() == {"backend": backend, "precision": arithmetic}
