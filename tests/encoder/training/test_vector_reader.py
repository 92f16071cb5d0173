"""Training of vector readers on tiny encoders: what is learnt, kept, and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import CheckpointError, InvalidInput
from encoder.generator_config import END, PAD
from encoder.service import load_encoder
from encoder.training.curves import CURVES
from encoder.training.state import STATE
from encoder.training.vector_reader import Progress, train_vector_reader
from encoder.training.vector_reader_data import Batches, Texts, embedded, read_texts, split
from encoder.training.vector_reader_settings import VectorReaderSettings
from encoder.vector_reading import VectorReaderFolder, load_vector_reader
from tests.encoder.training.tiny import WORDS, cut_short, save_tiny_model, write_rows


def tiny_reader_settings(folder: Path, **changes: Any) -> VectorReaderSettings:
    """Texts of two words, so that a few steps teach something."""
    rng = np.random.default_rng(0)
    texts = sorted({" ".join(rng.choice(WORDS[:8], 2)) for _ in range(400)})
    file = write_rows(folder / "texts.jsonl", [{"text": text} for text in texts])
    plain: dict[str, Any] = {
        "files": (file,),
        "start": folder / "start",
        "out": folder / "out",
        "vocab_size": 280,
        "d": 32,
        "layers": 2,
        "heads": 2,
        "prefix": 2,
        "max_tokens": 8,
        "steps": 6,
        "batch_size": 16,
        "dev_texts": 8,
        "dev_every": 3,
        "checkpoint_every": 2,
        "threads": 1,
    }
    save_tiny_model(folder / "start")
    return VectorReaderSettings(**(plain | changes))


@pytest.mark.slow
def test_a_reader_learns_to_tell_texts_by_their_vectors(tmp_path: Path) -> None:
    settings = tiny_reader_settings(tmp_path, steps=250, learning_rate=1e-2, noise=0.0)
    report = train_vector_reader(settings)
    assert report.held_out_loss < 0.8 * report.shuffled_loss
    assert report.held_out_loss < 0.8 * report.mean_loss
    assert report.similarity > report.other_similarity
    config = load_vector_reader(settings.out).config
    assert (config.held_out_loss, config.shuffled_loss) == (report.held_out_loss, report.shuffled_loss)
    assert VectorReaderFolder(settings.out).info.fingerprint == report.fingerprint
    assert (settings.out / CURVES).read_bytes().startswith(b"\x89PNG")
    assert not (settings.out / STATE).exists()


def interrupt(settings: VectorReaderSettings, step: int) -> None:
    """A run that ends after so many steps."""

    def stop(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vector_reader(settings, stop)


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, resumed = (tiny_reader_settings(tmp_path, out=tmp_path / name) for name in ("whole", "resumed"))
    first = train_vector_reader(whole)
    interrupt(resumed, 4)
    steps: list[int] = []
    second = train_vector_reader(resumed, lambda progress: steps.append(progress.step))
    assert steps == [5, 6]
    assert second.fingerprint == first.fingerprint
    assert [p.loss for p in second.progress] == [p.loss for p in first.progress]
    assert [p.step for p in second.progress if p.held_out_loss is not None] == [3, 6]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    settings = tiny_reader_settings(tmp_path)
    interrupt(settings, 2)
    with pytest.raises(CheckpointError, match="other settings"):
        train_vector_reader(replace(settings, learning_rate=1.0))


def test_a_checkpoint_of_other_texts_in_the_same_file_is_refused(tmp_path: Path) -> None:
    settings = tiny_reader_settings(tmp_path)
    interrupt(settings, 2)
    (file,) = settings.files
    before = file.read_text()
    file.write_text(before.replace("w1", "w9"))
    with pytest.raises(CheckpointError, match="other settings, files"):
        train_vector_reader(settings)
    file.write_text(before)
    steps: list[int] = []
    train_vector_reader(settings, lambda progress: steps.append(progress.step))
    assert steps == [3, 4, 5, 6]


def test_texts_that_are_all_too_long_are_refused_before_any_is_encoded(tmp_path: Path) -> None:
    settings = tiny_reader_settings(tmp_path, max_tokens=1)
    with pytest.raises(InvalidInput, match=r"longer than max_tokens=1, the shortest has \d tokens"):
        train_vector_reader(settings)
    assert not settings.out.exists()


def test_time_ends_a_run(tmp_path: Path) -> None:
    report = train_vector_reader(tiny_reader_settings(tmp_path, steps=10_000, max_seconds=0.5))
    assert 0 < report.steps < 10_000


def test_vectors_are_encoded_once(tmp_path: Path) -> None:
    encoder = load_encoder(save_tiny_model(tmp_path / "start"), "torch", threads=1)
    try:
        first = embedded(["w1 w2", "w3"], encoder, tmp_path / "out")
        (path,) = (tmp_path / "out").glob("*.npy")
        np.save(path, first + 1)
        assert (embedded(["w1 w2", "w3"], encoder, tmp_path / "out") == first + 1).all()
        assert embedded(["w1 w2", "w4"], encoder, tmp_path / "out").shape == first.shape
    finally:
        encoder.close()


def test_batches_hold_every_text_once_an_epoch_and_repeat_by_step() -> None:
    tokens = tuple(np.array([2] * (row % 5) + [10 + row, END], np.int32) for row in range(40))
    vectors = np.eye(40, dtype=np.float16)
    batches = Batches(Texts(tuple(map(str, range(40))), vectors, tokens), 8, seed=3)
    assert len(batches) == 5
    for epoch in range(2):
        drawn = [batches.at(epoch * 5 + place) for place in range(5)]
        rows = [row for batch in drawn for row in batch.vectors.argmax(1).tolist()]
        assert sorted(rows) == list(range(40))
    again = Batches(Texts(tuple(map(str, range(40))), vectors, tokens), 8, seed=3)
    assert (again.at(7).targets == batches.at(7).targets).all()
    for batch in batches.all():
        for vector, target in zip(batch.vectors, batch.targets, strict=True):
            row = int(vector.argmax())
            assert [t for t in target.tolist() if t != PAD] == tokens[row].tolist()


def test_noise_leaves_vectors_at_unit_length() -> None:
    tokens = tuple(np.array([2, END], np.int32) for _ in range(8))
    texts = Texts(("x",) * 8, np.eye(8, 16, dtype=np.float16), tokens)
    plain, noisy = Batches(texts, 8, 0).at(0).vectors, Batches(texts, 8, 0, noise=0.5).at(0).vectors
    assert noisy.norm(dim=1).numpy() == pytest.approx(np.ones(8), abs=1e-5)
    cosines = (plain * noisy).sum(1).numpy()
    assert 0.6 < float(cosines.min()) < float(cosines.max()) < 0.99


@pytest.mark.parametrize("line", ["{", "[]", '{"texts": "x"}', '{"text": 7}'])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps({"text": "fine"}) + "\n" + line + "\n")
    with pytest.raises(InvalidInput, match="line 2"):
        read_texts([path])


def test_packed_files_are_read_and_one_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    texts = [f"w{i} {i * 7919 % 1013}" for i in range(200)]
    path = write_rows(tmp_path / "texts.jsonl.gz", [{"text": text} for text in texts])
    assert read_texts([path]) == texts
    with pytest.raises(InvalidInput, match=r"texts\.jsonl\.gz cannot be read"):
        read_texts([cut_short(path)])


def test_equal_and_empty_texts_are_read_once(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "texts.jsonl", [{"text": t} for t in ("a  b", "a b", " ", "c")])
    assert read_texts([path]) == ["a b", "c"]


def test_half_a_surrogate_pair_is_read_as_a_replacement_character(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "texts.jsonl", [{"text": "broken \ud83d emoji"}])
    assert read_texts([path]) == ["broken \ufffd emoji"]


def test_a_run_that_diverges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="training has diverged"):
        train_vector_reader(tiny_reader_settings(tmp_path, learning_rate=1e30))


def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="too few"):
        split(["a", "b"], tiny_reader_settings(tmp_path))
    with pytest.raises(InvalidInput, match="at least one file"):
        tiny_reader_settings(tmp_path, files=())
    with pytest.raises(InvalidInput, match="batch_size=0"):
        tiny_reader_settings(tmp_path, batch_size=0)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_texts([tmp_path / "nothing.jsonl"])
    with pytest.raises(InvalidInput, match="learning_rate=nan must be above 0"):
        tiny_reader_settings(tmp_path, learning_rate=float("nan"))
