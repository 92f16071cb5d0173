"""`cognate train generator` on tiny models: the folder it writes loads, and wrong choices are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cognate.cli import app
from core.errors import InvalidInput
from encoder.generator_checkpoint import load_generator_checkpoint
from tests.encoder.training.tiny import save_tiny_model, write_rows
from tests.encoder.training.tiny_generation import write_generation_rows


def generator_arguments(folder: Path, *more: str) -> list[str]:
    rows, encoder = write_generation_rows(folder / "rows.jsonl"), save_tiny_model(folder / "encoder")
    shape = ["--vocabulary", "300", "--width", "16", "--layers", "1"]
    limits = ["--steps", "2", "--batch-tokens", "128", "--threads", "1"]
    return [
        "train",
        "generator",
        str(rows),
        "-o",
        str(folder / "mine"),
        "--encoder",
        str(encoder),
        *shape,
        *limits,
        *more,
    ]


def test_a_generator_is_trained_and_loads(tmp_path: Path) -> None:
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": "A small red fox ran over the hill."}] * 3)
    given = generator_arguments(tmp_path, "--texts", str(texts), "--share", "simplify=2", "--minutes", "5")
    result = CliRunner().invoke(app, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "2 steps in" in result.output
    assert "Held-out losses in nats a token: simplify" in result.output
    loaded = load_generator_checkpoint(tmp_path / "mine")
    summary = json.loads((tmp_path / "mine" / "training.json").read_text())
    assert (loaded.config.id, loaded.config.decoder.d, loaded.config.decoder.layers) == ("mine", 16, 1)
    assert set(summary["dev"]) == {"simplify", "translate_en_es"}
    assert summary["steps"] == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--share", "simplify"), "--share is 'simplify'; expected TASK=SHARE"),
        (("--share", "sing=2"), "the task 'sing'; known are clean_query"),
        (("--steps", "0"), "steps=0"),
        (("--texts", "none.jsonl"), r"The file of texts none\.jsonl does not exist"),
    ],
)
def test_wrong_choices_for_a_generator_are_refused(
    tmp_path: Path, wrong: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        CliRunner().invoke(app, generator_arguments(tmp_path, *wrong), catch_exceptions=False)
