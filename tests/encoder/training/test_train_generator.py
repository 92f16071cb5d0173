"""Training a tiny generator: what it writes, that it learns, and that an interrupted run goes on."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import torch

from core.errors import CheckpointError, InvalidInput
from encoder.bert import bert_from_weights
from encoder.checkpoint import load_checkpoint, save_checkpoint
from encoder.encoder_decoder import EncoderDecoder
from encoder.generator_checkpoint import GeneratorCheckpoint, load_generator_checkpoint
from encoder.generator_config import END
from encoder.generator_tokenizer import GeneratorTokenizer
from encoder.tokenizer import load_tokenizer
from encoder.training.generation_loop import GenerationProgress, GenerationRun, learning_rate
from encoder.training.generation_rows import read_rows
from encoder.training.generation_settings import GeneratorSettings
from encoder.training.generation_sources import make_tokenizer, prepare_rows
from encoder.training.state import STATE
from encoder.training.train_generator import train_generator
from tests.encoder.fakes import random_weights, tiny_config
from tests.encoder.training.tiny import save_tiny_model, tiny_tokenizer_json, write_rows
from tests.encoder.training.tiny_generation import generation_settings, write_generation_rows


class Stopped(Exception):
    """Raised by a test in the middle of a run."""


def stop_after(step: int) -> object:
    def stop(progress: GenerationProgress) -> None:
        if progress.step == step:
            raise Stopped

    return stop


def assert_same_weights(one: GeneratorCheckpoint, other: GeneratorCheckpoint) -> None:
    assert one.weights.keys() == other.weights.keys()
    for name, array in one.weights.items():
        np.testing.assert_array_equal(array, other.weights[name], err_msg=name)


def test_a_run_writes_a_folder_that_loads_and_a_picture(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path)
    report = train_generator(settings)
    loaded = load_generator_checkpoint(settings.out)
    assert loaded.config.id == "out"
    assert loaded.config.encoder_fingerprint == load_checkpoint(settings.encoder).fingerprint
    assert report.weights == sum(array.size for array in loaded.weights.values())
    assert (report.steps, len(report.progress)) == (6, 6)
    assert set(report.dev) == {"simplify", "translate_en_es"}
    assert report.curves.read_bytes().startswith(b"\x89PNG")
    model = EncoderDecoder(loaded.config)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in loaded.weights.items()})


def test_what_is_measured_is_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[dict[str, np.ndarray]] = []
    measure = GenerationRun.dev_losses

    def keep(run: GenerationRun) -> dict[str, float]:
        measured.append({name: w.cpu().numpy().copy() for name, w in run._model.state_dict().items()})
        return measure(run)

    monkeypatch.setattr(GenerationRun, "dev_losses", keep)
    settings = generation_settings(tmp_path)
    train_generator(settings)
    for name, array in load_generator_checkpoint(settings.out).weights.items():
        np.testing.assert_array_equal(measured[-1][name], array, err_msg=name)


@pytest.mark.usefixtures("delivered")
def test_a_run_that_is_interrupted_by_ctrl_c_loses_no_step(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, checkpoint_every=100)
    train_generator(settings)
    whole = load_generator_checkpoint(settings.out)
    rmtree(settings.out)

    def press_ctrl_c(progress: GenerationProgress) -> None:
        if progress.step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_generator(settings, press_ctrl_c)
    steps: list[int] = []
    train_generator(settings, lambda progress: steps.append(progress.step))
    assert steps == [4, 5, 6]
    assert_same_weights(load_generator_checkpoint(settings.out), whole)


@pytest.mark.slow
def test_a_run_that_diverges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="training has diverged"):
        train_generator(generation_settings(tmp_path, learning_rate=1e30))


def test_losses_fall(tmp_path: Path) -> None:
    settings = generation_settings(
        tmp_path, texts=(), steps=80, learning_rate=0.02, dropout=0.0, dev_every=80
    )
    losses = [progress.loss for progress in train_generator(settings).progress]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("bf16", [False, True])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, bf16: bool) -> None:
    settings = generation_settings(tmp_path, bf16=bf16)
    first = train_generator(settings)
    whole = load_generator_checkpoint(settings.out)
    rmtree(settings.out)
    with pytest.raises(Stopped):
        train_generator(settings, stop_after(3))  # type: ignore[arg-type]
    steps: list[int] = []
    second = train_generator(settings, lambda progress: steps.append(progress.step))
    assert steps == [3, 4, 5, 6]  # the last checkpoint was after step 2
    assert [p.loss for p in second.progress] == [p.loss for p in first.progress]
    assert [p.dev for p in second.progress] == [p.dev for p in first.progress]
    assert_same_weights(load_generator_checkpoint(settings.out), whole)


def test_a_run_goes_on_with_another_limit_but_not_with_other_settings(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, steps=2)
    train_generator(settings)
    steps: list[int] = []
    train_generator(replace(settings, steps=4), lambda progress: steps.append(progress.step))
    assert steps == [3, 4]
    with pytest.raises(CheckpointError, match="other settings"):
        train_generator(replace(settings, seed=1))


@pytest.mark.parametrize("file", ["rows.jsonl", "texts.jsonl.gz"])
def test_a_run_does_not_go_on_with_other_contents_of_its_files(tmp_path: Path, file: str) -> None:
    settings = generation_settings(tmp_path, steps=2)
    train_generator(settings)
    before = (tmp_path / file).read_bytes()
    if file == "rows.jsonl":
        (tmp_path / file).write_bytes(before.replace(b"w1", b"w2"))
    else:
        write_rows(tmp_path / file, [{"text": "A large red fox ran."}])
    reads: list[int] = []
    with pytest.raises(CheckpointError, match="other settings, files"):
        train_generator(settings, on_read=lambda done, total: reads.append(done))
    assert not reads, "it is refused before the encoder reads"
    (tmp_path / file).write_bytes(before)
    steps: list[int] = []
    train_generator(replace(settings, steps=4), lambda progress: steps.append(progress.step))
    assert steps == [3, 4]


def test_a_run_does_not_go_on_with_another_encoder_or_start_in_the_same_folder(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, steps=1)
    train_generator(settings)
    later = replace(settings, start=settings.out, out=tmp_path / "later")
    train_generator(later)
    train_generator(replace(settings, steps=2))
    with pytest.raises(CheckpointError, match="encoder or start"):
        train_generator(replace(later, steps=2))
    save_tiny_model(settings.encoder, replace(tiny_config(), max_tokens=16))
    with pytest.raises(CheckpointError, match="encoder or start"):
        train_generator(replace(settings, steps=3))


def test_a_run_ends_when_its_time_is_over(tmp_path: Path) -> None:
    report = train_generator(generation_settings(tmp_path, steps=100_000, max_seconds=1e-6))
    assert report.steps == 1


def test_a_run_may_start_from_a_generator_with_its_vocabulary_and_shape(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path)
    train_generator(settings)
    start = load_generator_checkpoint(settings.out)
    later = replace(settings, start=settings.out, out=tmp_path / "later", steps=1, learning_rate=1e-9)
    train_generator(later)
    found = load_generator_checkpoint(later.out)
    assert found.tokenizer_json == start.tokenizer_json
    assert found.config.decoder == start.config.decoder
    for name, array in start.weights.items():
        np.testing.assert_allclose(found.weights[name], array, atol=2e-3, err_msg=name)


def test_a_run_that_starts_from_a_generator_of_another_encoder_belongs_to_its_own(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, steps=1)
    train_generator(settings)
    other = save_tiny_model(tmp_path / "other", replace(tiny_config(), max_tokens=16))
    later = replace(settings, encoder=other, start=settings.out, out=tmp_path / "later")
    train_generator(later)
    found = load_generator_checkpoint(later.out).config.encoder_fingerprint
    assert found == load_checkpoint(other).fingerprint
    assert found != load_generator_checkpoint(settings.out).config.encoder_fingerprint


def test_a_start_whose_encoder_has_another_width_is_refused(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, steps=1)
    train_generator(settings)
    wide = save_tiny_model(tmp_path / "wide", replace(tiny_config(), d=tiny_config().d * 2))
    later = replace(settings, encoder=wide, start=settings.out, out=tmp_path / "later")
    with pytest.raises(CheckpointError, match="reads states of width"):
        train_generator(later)


def prepared(settings: GeneratorSettings) -> tuple[list[str], GeneratorTokenizer]:
    rows = read_rows(settings)
    return [row.source for row in rows], make_tokenizer(rows, 300)


def test_states_of_sources_are_those_of_the_encoder_at_each_tokens_place(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, texts=())
    settings.out.mkdir()
    sources, tokenizer = prepared(settings)
    rows = prepare_rows(read_rows(settings), tokenizer, settings)
    checkpoint = load_checkpoint(settings.encoder)
    encoder = bert_from_weights(checkpoint.config, checkpoint.weights)
    pieces = load_tokenizer(checkpoint.tokenizer_json)
    for i in (0, 7, 39):
        encoded = pieces.encode(sources[i])
        ids = torch.tensor([encoded.ids])
        with torch.no_grad():
            states = encoder.states(ids, torch.ones_like(ids, dtype=torch.bool))[0].numpy()
        (aligned,) = tokenizer.align([sources[i]], [encoded])
        begin, end = rows.bounds[rows.source[i]], rows.bounds[rows.source[i] + 1]
        np.testing.assert_array_equal(rows.source_ids[begin:end], aligned.token_ids)
        np.testing.assert_allclose(rows.states[begin:end], states[aligned.places], atol=0.05)
        assert rows.target_ids[i][-1] == END


def test_states_are_kept_for_the_same_sources_and_computed_again_for_others(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, texts=())
    settings.out.mkdir()
    reads: list[int] = []
    _, tokenizer = prepared(settings)
    for _ in range(2):
        prepare_rows(read_rows(settings), tokenizer, settings, lambda done, total: reads.append(total))
    assert set(reads) == {40}
    once = len(reads)
    write_generation_rows(settings.rows[0], 20)  # the same file, fewer rows
    rows = prepare_rows(read_rows(settings), tokenizer, settings, lambda done, total: reads.append(total))
    assert reads[once:] == [20] * len(reads[once:])
    assert len(reads) > once
    assert len(rows.bounds) == 21
    before = rows.states.copy()
    config = tiny_config()
    save_checkpoint(settings.encoder, config, random_weights(config, 1), tiny_tokenizer_json())
    other = prepare_rows(read_rows(settings), tokenizer, settings).states
    assert other.shape == before.shape
    assert np.abs(other - before).max() > 0.1, "of the encoder that is there now"


def test_rows_too_long_to_be_read_or_said_are_left_out(tmp_path: Path) -> None:
    file = write_rows(
        tmp_path / "long.jsonl",
        [
            {"task": "ask", "source": "w1 " * 60, "target": "w1"},
            {"task": "ask", "source": "w1", "target": "w1 " * 60},
            {"task": "ask", "source": "w2", "target": "w2"},
        ],
    )
    settings = generation_settings(
        tmp_path, rows=(file,), texts=(), max_source_tokens=20, max_target_tokens=20
    )
    settings.out.mkdir()
    _, tokenizer = prepared(settings)
    rows = prepare_rows(read_rows(settings), tokenizer, settings)
    assert rows.tasks == ("ask",)
    assert tokenizer.decode(rows.target_ids[0].tolist()) == "w2"


def test_the_learning_rate_rises_stays_and_falls() -> None:
    settings = GeneratorSettings(Path("e"), (Path("r"),), Path("o"), learning_rate=1.0, warmup_share=0.1)
    rates = [learning_rate(share, settings) for share in (0.0, 0.05, 0.1, 0.3, 0.4, 0.7, 1.0)]
    assert rates == pytest.approx([0.02, 0.5, 1.0, 1.0, 1.0, 0.5, 0.02])


def test_a_generator_writes_its_config_as_it_reads_it(tmp_path: Path) -> None:
    settings = generation_settings(tmp_path, steps=1)
    train_generator(settings)
    content = json.loads((settings.out / "config.json").read_text())
    assert content["model_type"] == "cognate-generator"
    assert not (settings.out / "pytorch_model.bin").exists()
    assert (settings.out / STATE).is_file()
