"""Training of rerankers on tiny models: the loss falls, the ranking gets better, a run can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from core.errors import InvalidInput
from core.types import Lane, PassageText
from encoder.checkpoint import load_checkpoint
from encoder.config import ModelConfig
from encoder.cross_checkpoint import load_cross_encoder
from encoder.reranker import load_reranker
from encoder.training.batches import Batch
from encoder.training.loop import Progress
from encoder.training.rerank_step import RerankStep, binary, listwise, reciprocal_rank
from encoder.training.settings import Mode, PairFile, RerankLoss, RerankSettings, TrainSettings
from encoder.training.state import STATE
from encoder.training.train_reranker import train_reranker
from tests.encoder.fakes import tiny_config
from tests.encoder.training.tiny import WORDS, save_tiny_model, tiny_settings, write_rows


def settings_in(folder: Path, **changes: object) -> RerankSettings:
    plain: dict[str, object] = {"mode": Mode.FULL, "learning_rate": 1e-2, "max_tokens": 24}
    return RerankSettings(tiny_settings(folder, **(plain | changes)), negatives=4, dev_candidates=6)


TOPICS = WORDS[:8]


class Stopped(Exception):
    """Raised by a test in the middle of a run."""


def topical_pairs(path: Path, n: int) -> Path:
    """Query and passage share one of eight words; passages with the same one are no wrong answers."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        topic, others = TOPICS[i % len(TOPICS)], rng.permutation(WORDS[len(TOPICS) :])
        rows.append(
            {"query": f"{others[0]} {topic}", "text": " ".join([topic, *others[1:4]]), "label": topic}
        )
    return write_rows(path, rows)


@pytest.mark.integration
@pytest.mark.parametrize("loss", RerankLoss)
def test_the_loss_falls_and_the_ranking_gets_better_than_the_start_models(
    tmp_path: Path, loss: RerankLoss
) -> None:
    pairs = topical_pairs(tmp_path / "many.jsonl", n=400)
    settings = settings_in(
        tmp_path, files=(PairFile(pairs, hard_negatives=2),), steps=250, dev_pairs=30, dev_every=250,
        batch_size=16, learning_rate=5e-3, model_id="mine",
    )  # fmt: skip
    report = train_reranker(replace(settings, loss=loss))
    early, late = report.progress[:10], report.progress[-10:]
    assert np.mean([p.loss for p in late]) < 0.9 * np.mean([p.loss for p in early])
    assert report.final_mrr > report.start_mrr + 0.1
    saved = load_reranker(settings.run.out, "torch", threads=1)
    try:
        assert (saved.info.id, saved.info.fingerprint) == ("mine", report.fingerprint)
        passages = [PassageText("", f"{topic} w20 w30 w40") for topic in TOPICS]
        found = [int(saved.score(f"w25 {topic}", passages, Lane.BULK).argmax()) for topic in TOPICS]
        assert sum(f == i for i, f in enumerate(found)) >= 6  # one by chance
    finally:
        saved.close()


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.LORA])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, mode: Mode) -> None:
    settings = settings_in(tmp_path, mode=mode)
    first = train_reranker(settings)

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Stopped

    for file in settings.run.out.iterdir():
        file.unlink()
    with pytest.raises(Stopped):
        train_reranker(settings, stop)
    assert (settings.run.out / STATE).is_file()
    steps: list[int] = []
    second = train_reranker(settings, lambda progress: steps.append(progress.step))
    assert steps == [3, 4, 5, 6]  # the last checkpoint was after step 2
    assert not (settings.run.out / STATE).exists()
    assert second.fingerprint == first.fingerprint
    assert [p.loss for p in second.progress] == [p.loss for p in first.progress]
    other = train_reranker(replace(settings, run=replace(settings.run, seed=1)))
    assert other.fingerprint != first.fingerprint


def test_what_is_measured_is_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[dict[str, torch.Tensor]] = []
    measure = RerankStep.dev_mrr

    def keep(step: RerankStep, batches: Sequence[Batch]) -> float:
        measured.append({name: w.cpu().clone() for name, w in step._model.state_dict().items()})
        return measure(step, batches)

    monkeypatch.setattr(RerankStep, "dev_mrr", keep)
    settings = settings_in(tmp_path, mode=Mode.LORA)
    train_reranker(settings)
    saved = load_cross_encoder(settings.run.out)
    for name, array in saved.encoder.weights.items():
        assert np.array_equal(measured[-1][f"bert.{name}"].numpy(), array), name
    assert np.array_equal(measured[-1]["dense.weight"].numpy(), saved.head.dense_weight)
    assert np.array_equal(measured[-1]["score.bias"].numpy(), saved.head.score_bias)


def test_the_tables_stay_and_the_blocks_and_the_head_are_trained(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    train_reranker(settings)
    start, saved = load_checkpoint(settings.run.start), load_cross_encoder(settings.run.out)
    words = "embeddings.word_embeddings.weight"
    vocab = start.config.vocab_size
    np.testing.assert_allclose(saved.encoder.weights[words][:vocab], start.weights[words], atol=2e-3)
    query = "encoder.layer.0.attention.self.query.weight"
    assert np.abs(saved.encoder.weights[query] - start.weights[query]).max() > 1e-2
    assert np.abs(saved.head.score_weight).max() > 1e-2


def test_a_trained_folder_loads_in_the_reference_implementation(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    train_reranker(settings)
    reference = AutoModelForSequenceClassification.from_pretrained(settings.run.out).eval()
    ids = torch.tensor([[1, 5, 6, 2, 7, 8, 2]])
    segments = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    with torch.inference_mode():
        expected = reference(input_ids=ids, token_type_ids=segments).logits[0, 0].item()
    ours = load_reranker(settings.run.out, "torch", threads=1)
    try:
        (found,) = ours.score("w2 w3", [PassageText("", "w4 w5")], Lane.BULK)
    finally:
        ours.close()
    assert found == pytest.approx(expected, abs=1e-4)


def test_losses_and_ranks_are_their_formulas() -> None:
    logits = torch.tensor([[1.0, 0.0, -torch.inf], [0.0, 2.0, -1.0]])
    softmax = [np.exp(1) / (np.exp(1) + 1), 1 / (1 + np.exp(2) + np.exp(-1))]
    assert listwise(logits).item() == pytest.approx(-np.log(softmax).mean(), abs=1e-6)
    positive = np.log1p(np.exp([-1.0, 0.0])).mean()
    negative = np.log1p(np.exp([0.0, 2.0, -1.0])).mean()
    assert binary(logits).item() == pytest.approx((positive + negative) / 2, abs=1e-6)
    np.testing.assert_allclose(reciprocal_rank(logits.numpy()), [1, 1 / 2])
    np.testing.assert_allclose(reciprocal_rank(np.zeros((1, 3), np.float32)), [1 / 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"negatives": 0}, "negatives=0"), ({"dev_candidates": 0}, "dev_candidates=0")],
)
def test_impossible_settings_are_refused(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    run = TrainSettings(tmp_path, (PairFile(tmp_path),), tmp_path)
    with pytest.raises(InvalidInput, match=message):
        RerankSettings(run, **changes)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="train_embeddings is for encoders"):
        RerankSettings(replace(run, train_embeddings=True))


def test_a_start_without_segments_is_refused(tmp_path: Path) -> None:
    plain = tiny_config()
    fields = {name: getattr(plain, name) for name in plain.__slots__} | {"type_vocab": 1}
    start = save_tiny_model(tmp_path / "single", ModelConfig(**fields))
    with pytest.raises(InvalidInput, match="two segments"):
        train_reranker(settings_in(tmp_path, start=start))
