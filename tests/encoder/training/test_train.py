"""Training as a whole on tiny models: what changes, what is written, and that an interrupted run goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import CheckpointError, InvalidInput
from core.types import Float32, Int32, Lane
from encoder.backends.torch_backend import TorchBackend
from encoder.checkpoint import WEIGHTS, load_checkpoint, load_reference, save_checkpoint
from encoder.config import Pooling
from encoder.engine import Engine
from encoder.service import EncoderService, load_encoder, measure_parity
from encoder.training.export import average, average_folders
from encoder.training.loop import Progress, learning_rate
from encoder.training.mining import NONE
from encoder.training.pair_model import cross_config
from encoder.training.settings import LossSettings, Mode, PairFile, TrainSettings
from encoder.training.state import STATE
from encoder.training.train import load_sources, train_encoder
from tests.encoder.fakes import random_weights, tiny_config, tiny_modern_config
from tests.encoder.training.tiny import save_tiny_model, tiny_settings, write_rows


def changed_tensors(settings: TrainSettings) -> set[str]:
    """Names of tensors that training changed by more than float16 rounding."""
    before = load_checkpoint(settings.start).weights
    after = load_checkpoint(settings.out).weights
    assert before.keys() == after.keys()
    return {n for n in before if np.abs(before[n] - after[n]).max() > 1e-3 * (1 + np.abs(before[n]).max())}


class Stopped(Exception):
    """Raised by a test in the middle of a run."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", Mode)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, mode: Mode) -> None:
    whole = tiny_settings(tmp_path, mode=mode, learning_rate=1e-2)
    first = train_encoder(whole)

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Stopped

    resumed = replace(whole, out=tmp_path / "out")
    first_weights = load_checkpoint(whole.out).weights
    for file in whole.out.iterdir():
        file.unlink()
    with pytest.raises(Stopped):
        train_encoder(resumed, stop)
    assert (whole.out / STATE).is_file()
    steps: list[int] = []
    second = train_encoder(resumed, lambda progress: steps.append(progress.step))
    assert steps == [3, 4, 5, 6]  # the last checkpoint was after step 2
    assert not (whole.out / STATE).exists()
    assert [p.loss for p in second.progress] == [p.loss for p in first.progress]
    assert second.fingerprint == first.fingerprint
    for name, array in load_checkpoint(whole.out).weights.items():
        np.testing.assert_array_equal(array, first_weights[name])


@pytest.mark.usefixtures("delivered")
def test_a_run_that_is_interrupted_by_ctrl_c_loses_no_step(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, checkpoint_every=100)
    first = train_encoder(settings)

    def press_ctrl_c(progress: Progress) -> None:
        if progress.step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_encoder(settings, press_ctrl_c)
    steps: list[int] = []
    second = train_encoder(settings, lambda progress: steps.append(progress.step))
    assert steps == [4, 5, 6]
    assert second.fingerprint == first.fingerprint


def test_a_checkpoint_of_another_run_is_refused_before_the_texts_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tmp_path)

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            raise Stopped

    def load_encoder(*_args: object, **_options: object) -> None:
        pytest.fail("the encoder was loaded")

    with pytest.raises(Stopped):
        train_encoder(settings, stop)
    monkeypatch.setattr("encoder.training.train.load_encoder", load_encoder)
    with pytest.raises(CheckpointError, match="other settings"):
        train_encoder(replace(settings, seed=1))


def test_the_main_thread_gets_no_stack_for_signals_from_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tmp_path)
    loaded_on: list[threading.Thread] = []

    def load(*args: Any, **options: Any) -> EncoderService:
        loaded_on.append(threading.current_thread())
        return load_encoder(*args, **options)

    monkeypatch.setattr("encoder.training.train.load_encoder", load)
    load_sources(settings, load_checkpoint(settings.start))
    assert threading.main_thread() not in loaded_on


def test_of_equal_pairs_none_is_held_out_and_trained_on(tmp_path: Path) -> None:
    rows = [{"query": f"w{i % 20}", "text": f"w{i % 20} w{i % 20 + 1}"} for i in range(60)]
    pairs = write_rows(tmp_path / "thrice.jsonl", rows)
    settings = tiny_settings(tmp_path, files=(PairFile(pairs),), dev_pairs=5)
    (source,) = load_sources(settings, load_checkpoint(settings.start))
    assert len(source.dev) == 2  # a tenth of the 20 that differ
    assert len(source.train) == 54
    assert not {source.pairs.queries[i] for i in source.dev} & {source.pairs.queries[i] for i in source.train}


def test_an_answer_that_is_given_as_a_negative_is_left_out(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"query": "w1", "text": "w2", "negatives": ["w2", "w3", "w4"]},
        {"query": "W1", "text": "w3", "negatives": ["w2", "w3"]},
        {"query": "w5", "text": "w6"},
    ]
    pairs = write_rows(tmp_path / "given.jsonl", rows)
    settings = tiny_settings(tmp_path, files=(PairFile(pairs, hard_negatives=1),))
    (source,) = load_sources(settings, load_checkpoint(settings.start))
    texts = [passage.text for passage in source.pairs.passages]
    pools = [{texts[i] for i in row if i != NONE} for row in source.pool]
    assert pools[0] == {"w4"}
    assert not pools[1] & {"w2", "w3"}  # mined, as nothing that was given is wrong


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_nothing_can_be_drawn_by_is_refused(tmp_path: Path, seed: int) -> None:
    with pytest.raises(InvalidInput, match="seed="):
        tiny_settings(tmp_path, seed=seed)


def test_a_checkpoint_of_other_settings_or_pairs_is_refused(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train_encoder(settings, stop)
    with pytest.raises(CheckpointError, match="other settings"):
        train_encoder(replace(settings, seed=1))
    pairs = settings.files[0].path
    before = pairs.read_text()
    pairs.write_text(before + before.splitlines()[0].replace("w1", "w2"))
    with pytest.raises(CheckpointError, match="other settings, files"):
        train_encoder(settings)
    pairs.write_text(before)
    (settings.out / STATE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="is damaged"):
        train_encoder(settings)


def test_class_attention_mode_changes_the_pooling_layer_alone(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, mode=Mode.CLASS_ATTENTION, learning_rate=0.02)
    train_encoder(settings)
    changed = changed_tensors(settings)
    assert changed
    assert all(name.startswith("class_attention.") for name in changed)


def test_lora_mode_changes_the_linear_layers_of_the_last_blocks(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, mode=Mode.LORA, learning_rate=0.02, last_layers=1)
    report = train_encoder(settings)
    blocks = {name for name in changed_tensors(settings) if name.startswith("encoder.")}
    assert len(blocks) == 6
    assert all(name.startswith("encoder.layer.1.") and name.endswith(".weight") for name in blocks)
    assert not any(name.startswith("embeddings.") for name in changed_tensors(settings))
    config = tiny_config()
    inputs_and_outputs = 4 * 2 * config.d + 2 * (config.d + config.intermediate)
    assert report.trained_weights == 4 * inputs_and_outputs + config.d + 3 * config.d**2


@pytest.mark.parametrize("train_embeddings", [True, False])
def test_full_mode_trains_the_embeddings_only_when_told(tmp_path: Path, train_embeddings: bool) -> None:
    settings = tiny_settings(tmp_path, mode=Mode.FULL, learning_rate=0.02, train_embeddings=train_embeddings)
    train_encoder(settings)
    changed = changed_tensors(settings)
    assert "encoder.layer.0.attention.self.query.weight" in changed
    assert ("embeddings.word_embeddings.weight" in changed) is train_embeddings


def test_the_pooling_layer_cannot_be_trained_where_there_is_none(tmp_path: Path) -> None:
    start = save_tiny_model(tmp_path / "mean", tiny_config(Pooling.MEAN))
    with pytest.raises(InvalidInput, match="does not have; use lora or full"):
        train_encoder(tiny_settings(tmp_path, start=start, mode=Mode.CLASS_ATTENTION))


def test_more_last_layers_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="last_layers=3, but 'tiny' has 2 blocks"):
        train_encoder(tiny_settings(tmp_path, last_layers=3))


def test_a_modernbert_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    start = save_tiny_model(tmp_path / "modern", tiny_modern_config())
    missing = PairFile(tmp_path / "none.jsonl")  # not even looked at
    with pytest.raises(InvalidInput, match="'tiny' is a ModernBERT, which can be served but not trained"):
        train_encoder(tiny_settings(tmp_path, start=start, files=(missing,)))


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.LORA])
def test_a_run_that_diverges_is_refused_and_writes_no_model(tmp_path: Path, mode: Mode) -> None:
    settings = tiny_settings(tmp_path, mode=mode, learning_rate=1e30)
    with pytest.raises(
        InvalidInput, match=r"The loss of step \d is nan.*diverged. Give a lower learning rate"
    ):
        train_encoder(settings)
    assert not (settings.out / WEIGHTS).exists()


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    saved = load_checkpoint(save_tiny_model(tmp_path / "model"))
    before = (tmp_path / "model" / WEIGHTS).read_bytes()
    name = next(iter(saved.weights))
    broken = {**saved.weights, name: np.full_like(saved.weights[name], np.nan)}
    with pytest.raises(CheckpointError, match=f"'{name}' has values that are not finite in float32"):
        save_checkpoint(tmp_path / "model", saved.config, broken, saved.tokenizer_json)
    assert (tmp_path / "model" / WEIGHTS).read_bytes() == before


def test_a_negative_weight_of_a_loss_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"embedding=inf must not be negative or infinite"):
        LossSettings(embedding=float("inf"))
    with pytest.raises(InvalidInput, match=r"embedding=-1.0 must not be negative"):
        LossSettings(embedding=-1.0)


def test_training_learns_pairs_and_writes_a_model_that_loads(tmp_path: Path) -> None:
    losses = LossSettings(embedding=0.0, similarity=0.0)
    settings = tiny_settings(
        tmp_path, mode=Mode.FULL, steps=60, learning_rate=5e-3, losses=losses, model_id="mine", dev_every=20
    )
    report = train_encoder(settings)
    early, late = report.progress[:10], report.progress[-10:]
    assert np.mean([p.parts["contrastive"] for p in late]) < 0.5 * np.mean(
        [p.parts["contrastive"] for p in early]
    )
    assert [p.step for p in report.progress if p.dev_mrr is not None] == [20, 40, 60]
    for precision, accuracy in (("f32", 1e-4), ("int8", 0.01)):
        encoder = load_encoder(settings.out, precision=precision)
        assert (encoder.info.id, encoder.info.fingerprint) == ("mine", report.fingerprint)
        assert encoder.parity == pytest.approx(1, abs=accuracy)
        encoder.close()


def test_the_reference_vectors_are_those_of_the_saved_weights(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, mode=Mode.FULL, learning_rate=0.02)
    train_encoder(settings)
    saved, reference = load_checkpoint(settings.out), load_reference(settings.out)
    assert reference is not None
    torch_backend = TorchBackend(saved.config, saved.weights)
    assert measure_parity(saved, torch_backend, reference) == pytest.approx(1, abs=1e-6)


def test_distillation_alone_stays_at_the_start(tmp_path: Path) -> None:
    losses = LossSettings(contrastive=0.0)
    settings = tiny_settings(tmp_path, mode=Mode.LORA, losses=losses, learning_rate=1e-3)
    report = train_encoder(settings)
    assert max(p.parts["embedding"] for p in report.progress) < 1e-2
    assert max(p.parts["similarity"] for p in report.progress) < 1e-2


def test_a_result_that_is_all_start_is_the_start(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, mode=Mode.FULL, learning_rate=0.05, start_share=1.0, dev_pairs=20)
    report = train_encoder(settings)
    assert not changed_tensors(settings)
    assert report.final_mrr == pytest.approx(report.start_mrr, abs=0.02)


def test_a_model_that_reads_in_windows_is_trained_on_one_and_stays_so(tmp_path: Path) -> None:
    config = replace(tiny_config(), max_tokens=20, window_tokens=6)
    settings = tiny_settings(tmp_path, start=save_tiny_model(tmp_path / "windowed", config), max_tokens=6)
    with pytest.raises(InvalidInput, match="'tiny' reads longer inputs in windows of 6 tokens"):
        train_encoder(replace(settings, max_tokens=7))
    start = load_checkpoint(settings.start)
    (source,) = load_sources(settings, start)
    assert max(map(len, source.passage_ids)) == 6  # of texts of 8
    train_encoder(settings)
    trained = load_checkpoint(settings.out).config
    assert (trained.max_tokens, trained.window_tokens) == (20, 6)
    cross = cross_config(start.config)
    assert (cross.max_tokens, cross.window_tokens) == (6, 0)


def test_queries_are_encoded_in_the_bulk_lane_which_takes_any_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tmp_path)
    lanes: list[Lane] = []
    submit = Engine.encode

    def noted(engine: Engine, token_ids: Sequence[Int32], lane: Lane) -> Float32:
        lanes.append(lane)
        return submit(engine, token_ids, lane)

    monkeypatch.setattr(Engine, "encode", noted)
    load_sources(settings, load_checkpoint(settings.start))
    assert lanes == [Lane.BULK] * 2  # queries, then passages


def test_time_ends_a_run(tmp_path: Path) -> None:
    report = train_encoder(tiny_settings(tmp_path, steps=100_000, max_seconds=0.2))
    assert 0 < report.steps < 100_000


def test_the_learning_rate_rises_and_falls(tmp_path: Path) -> None:
    settings = TrainSettings(tmp_path, (PairFile(tmp_path),), tmp_path, learning_rate=1.0, warmup_share=0.2)
    rates = [learning_rate(share, settings) for share in (0, 0.1, 0.2, 0.6, 1)]
    assert rates == pytest.approx([0.05, 0.5, 1, 0.55, 0.1])


def test_learning_curves_are_drawn(tmp_path: Path) -> None:
    report = train_encoder(tiny_settings(tmp_path))
    assert report.curves.read_bytes().startswith(b"\x89PNG")


def test_averages_lie_on_the_line_between_the_models() -> None:
    a, b = random_weights(tiny_config(), seed=0), random_weights(tiny_config(), seed=1)
    middle = average(a, b, 0.25)
    for name in a:
        np.testing.assert_allclose(middle[name], 0.75 * a[name] + 0.25 * b[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(average(a, b, 0)[name], a[name])
    with pytest.raises(CheckpointError, match="same tensors"):
        average(a, {}, 0.5)


def test_averaged_folders_load(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, mode=Mode.FULL, learning_rate=0.02)
    train_encoder(settings)
    average_folders(settings.start, settings.out, 0.5, tmp_path / "half")
    half, end = load_checkpoint(tmp_path / "half"), load_checkpoint(settings.out)
    start = load_checkpoint(settings.start)
    for name, array in half.weights.items():
        expected = (start.weights[name] + end.weights[name]) / 2
        np.testing.assert_allclose(array, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": ()}, "at least one file"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"steps": 0}, "steps=0"),
        ({"start_share": 2.0}, "start_share=2.0"),
        ({"lora_rank": 0}, "lora_rank=0"),
        ({"last_layers": 0}, "last_layers=0"),
        ({"learning_rate": -1e-4}, "learning_rate=-0.0001 must be above 0"),
        ({"max_seconds": 0.0}, "max_seconds=0.0 must be above 0"),
        ({"max_seconds": float("nan")}, "max_seconds=nan must be above 0"),
        ({"threads": -1}, "threads=-1 must be 0"),
        ({"files": (PairFile(Path("pairs.jsonl"), hard_negatives=-1),)}, "hard negatives"),
        ({"files": (PairFile(Path("pairs.jsonl"), weight=float("inf")),)}, "weight of every file"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        replace(TrainSettings(tmp_path, (PairFile(tmp_path),), tmp_path), **changes)  # type: ignore[arg-type]
