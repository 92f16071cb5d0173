"""`cognate train` on tiny models: the folders it writes load, and wrong choices are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cognate.train_command import train_app
from core.errors import InvalidInput
from encoder.checkpoint import load_checkpoint
from encoder.cross_checkpoint import load_cross_encoder
from encoder.vector_reading import VectorReaderFolder, load_vector_reader
from tests.encoder.training.tiny import save_tiny_model, write_pairs, write_rows


def arguments(folder: Path, command: str, *more: str) -> list[str]:
    pairs = write_pairs(folder / "pairs.jsonl")
    start = save_tiny_model(folder / "start")
    limits = ["--steps", "2", "--batch-size", "4", "--max-tokens", "16", "--threads", "1"]
    return [command, f"{pairs}=2", "--out", str(folder / "mine"), "--start", str(start), *limits, *more]


def test_a_reranker_is_trained_and_loads(tmp_path: Path) -> None:
    given = arguments(tmp_path, "reranker", "--negatives", "2", "--loss", "binary", "--mode", "lora")
    result = CliRunner().invoke(train_app, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "step 1 of 2: loss" in result.output
    assert "MRR of held-out pairs" in result.output
    saved = load_cross_encoder(tmp_path / "mine")
    summary = json.loads((tmp_path / "mine" / "training.json").read_text())
    assert saved.encoder.config.id == "mine"
    assert (summary["fingerprint"], summary["steps"]) == (saved.encoder.fingerprint, 2)


def test_a_model_trained_into_the_working_folder_is_named_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    given = arguments(tmp_path, "reranker", "--negatives", "2", "--out", ".")
    result = CliRunner().invoke(train_app, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert load_cross_encoder(tmp_path / "here").encoder.config.id == "here"


def test_what_could_not_be_measured_is_told_so_and_is_null_in_the_summary(tmp_path: Path) -> None:
    few = write_pairs(tmp_path / "few.jsonl", n=4)
    given = arguments(tmp_path, "reranker", "--negatives", "2")
    given[1] = str(few)
    result = CliRunner().invoke(train_app, given, catch_exceptions=False)
    assert "Not measured: no pair was held out" in result.output
    assert "nan" not in result.output
    summary = json.loads((tmp_path / "mine" / "training.json").read_text(), parse_constant=pytest.fail)
    assert (summary["start_mrr"], summary["final_mrr"]) == (None, None)


@pytest.mark.integration
def test_an_encoder_is_trained_and_loads(tmp_path: Path) -> None:
    result = CliRunner().invoke(train_app, arguments(tmp_path, "encoder"), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert load_checkpoint(tmp_path / "mine").config.id == "mine"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--loss", "hinge"), "loss is 'hinge'; known are listwise, binary"),
        (("--mode", "all"), "mode is 'all'; known are class_attention, lora, full"),
        (("--mode", "class_attention"), "does not have; use lora or full"),
        (("--negatives", "0"), "negatives=0"),
    ],
)
def test_wrong_choices_are_refused(tmp_path: Path, wrong: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        CliRunner().invoke(train_app, arguments(tmp_path, "reranker", *wrong), catch_exceptions=False)


@pytest.mark.slow
def test_a_vector_reader_is_trained_and_loads(tmp_path: Path) -> None:
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": f"w{i % 40} w{i // 40}"} for i in range(1200)])
    start, out = str(save_tiny_model(tmp_path / "start")), str(tmp_path / "mine")
    limits = ["--steps", "2", "--batch-size", "8", "--vocabulary", "280", "--threads", "1"]
    given = ["vector-reader", str(texts), "--out", out, "--start", start, *limits]
    result = CliRunner().invoke(train_app, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Nats a token of held-out texts" in result.output
    summary = json.loads((tmp_path / "mine" / "training.json").read_text())
    assert (summary["fingerprint"], summary["steps"]) == (
        VectorReaderFolder(tmp_path / "mine").info.fingerprint,
        2,
    )
    assert load_vector_reader(tmp_path / "mine").config.id == "mine"


@pytest.mark.parametrize(
    ("command", "of"), [("encoder", "pairs"), ("reranker", "pairs"), ("vector-reader", "texts")]
)
def test_a_file_that_is_missing_is_told_before_any_progress(tmp_path: Path, command: str, of: str) -> None:
    given = [command, str(tmp_path / "nowhere.jsonl"), "--out", str(tmp_path / "mine")]
    result = CliRunner().invoke(train_app, given)
    assert str(result.exception) == f"The file of {of} {tmp_path / 'nowhere.jsonl'} does not exist."
    assert result.output == ""


def test_a_start_that_is_missing_is_told_without_a_bar_of_steps(tmp_path: Path) -> None:
    given = arguments(tmp_path, "reranker", "--start", str(tmp_path / "nowhere"))
    result = CliRunner().invoke(train_app, given)
    assert "nowhere" in str(result.exception)
    assert "0/2" not in result.output
