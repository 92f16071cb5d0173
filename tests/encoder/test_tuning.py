"""The tuner as the service uses it: tuned in a process of its own, served without torch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import EncoderMismatch, InvalidInput, Unavailable
from core.ports.classifiers import Arrays, EncoderTuner
from core.ports.models import Encoder, PartsEncoder
from core.types import EncoderInfo, Float32, PassageText
from encoder import tuning
from encoder.adapted import EncoderShelf
from encoder.backends.torch_backend import TorchBackend
from encoder.checkpoint import load_checkpoint
from encoder.service import EncoderService, load_encoder
from encoder.training.settings import TuneSettings
from encoder.tuning import AdapterTuner, ModelSource
from tests.encoder.fakes import tiny_config, tiny_modern_config
from tests.encoder.training.tiny import save_tiny_model

TEXTS = [f"w{i % 4 + 1} w{i % 7 + 10} w{i % 4 + 1} w{i % 5 + 20}" for i in range(24)]
TRUTH = np.eye(4, dtype=bool)[[i % 4 for i in range(24)]]
PASSAGES = [PassageText("", text) for text in TEXTS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def base(model: Path) -> Iterator[EncoderService]:
    encoder = load_encoder(model, precision="f32", threads=1)
    yield encoder
    encoder.close()


def tuner_of(model: Path, base: EncoderService, precision: str = "f32", keep: int = 2) -> AdapterTuner:
    settings = TuneSettings(steps=20, lora_rank=2, learning_rate=1e-2)
    return AdapterTuner(base.info, ModelSource(model, "openvino", precision, 1), settings, keep)


@pytest.fixture(scope="module")
def tuner(model: Path, base: EncoderService) -> Iterator[AdapterTuner]:
    tuner = tuner_of(model, base)
    yield tuner
    tuner.close()


def ignore(share: float) -> None:
    assert 0 <= share <= 1


@pytest.fixture(scope="module")
def adapters(tuner: AdapterTuner) -> Arrays:
    return tuner.tune(TEXTS, TRUTH, 0, ignore)


def hand_made(scale: float) -> dict[str, Float32]:
    """Adapters of the tiny model without any training."""
    rng = np.random.default_rng(0)
    weight = "encoder.layer.1.output.dense.weight"
    return {
        f"{weight}.lora_a": rng.normal(size=(2, tiny_config().intermediate)).astype(np.float32),
        f"{weight}.lora_b": (scale * rng.normal(size=(tiny_config().d, 2))).astype(np.float32),
    }


@pytest.mark.integration
def test_a_tuned_encoder_is_another_one_and_its_parts_add_up(
    tuner: AdapterTuner, adapters: Arrays, base: EncoderService
) -> None:
    port: EncoderTuner = tuner
    encoder: Encoder = port.encoder(adapters)
    assert encoder.info.fingerprint != base.info.fingerprint
    assert (encoder.info.dim, encoder.info.max_tokens) == (base.info.dim, base.info.max_tokens)
    vectors = encoder.encode_passages(PASSAGES)
    assert np.abs(vectors - base.encode_passages(PASSAGES)).max() > 0.05
    parts: PartsEncoder = tuner.encoder(adapters)
    sums = [part.vectors.sum(0) for part in parts.passage_parts(PASSAGES[:3])]
    np.testing.assert_allclose(sums, vectors[:3], atol=1e-4)
    np.testing.assert_allclose(parts.query_parts(TEXTS[0]).vectors.sum(0), sums[0], atol=1e-4)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), vectors, atol=1e-4)
    assert len(encoder.token_spans(TEXTS[:1])[0]) == 4


@pytest.mark.integration
def test_the_process_gives_the_same_vectors_for_the_same_seed_and_tells_its_progress(
    tuner: AdapterTuner, adapters: Arrays
) -> None:
    shares: list[float] = []
    again = tuner.tune(TEXTS, TRUTH, 0, shares.append)
    first, second = (tuner.encoder(arrays).encode_passages(PASSAGES) for arrays in (adapters, again))
    assert (first * second).sum(1).min() > 0.9999
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.integration
def test_int8_serves_with_the_ranges_that_came_with_the_adapters(
    model: Path, base: EncoderService, tuner: AdapterTuner, adapters: Arrays
) -> None:
    in_int8 = tuner_of(model, base, "int8")
    cosines = (in_int8.encoder(adapters).encode_passages(PASSAGES)) * (
        tuner.encoder(adapters).encode_passages(PASSAGES)
    )
    in_int8.close()
    assert cosines.sum(1).mean() > 0.99


@pytest.mark.integration
def test_a_process_that_refuses_or_fails_says_why(tmp_path: Path, base: EncoderService) -> None:
    modern = save_tiny_model(tmp_path / "modern", tiny_modern_config())
    with pytest.raises(Unavailable, match=r"^Tuning the encoder failed: 'tiny' is a ModernBERT"):
        tuner_of(modern, base).tune(TEXTS, TRUTH, 0, ignore)
    (modern / "config.json").write_text("[]")
    with pytest.raises(Unavailable, match=r"^Tuning the encoder failed: "):
        tuner_of(modern, base).tune(TEXTS, TRUTH, 0, ignore)


@pytest.mark.integration
def test_what_going_raises_ends_the_process(tuner: AdapterTuner) -> None:
    def stop(share: float) -> None:
        raise InterruptedError(share)

    with pytest.raises(InterruptedError):
        tuner.tune(TEXTS, TRUTH, 0, stop)


def test_saved_arrays_give_the_same_encoder(tuner: AdapterTuner, tmp_path: Path) -> None:
    adapters = hand_made(0.3)
    np.savez(tmp_path / "adapters.npz", **adapters)  # type: ignore[arg-type]  # names are no options
    with np.load(tmp_path / "adapters.npz", allow_pickle=False) as stored:
        read = {name: stored[name] for name in stored.files}
    assert tuner.encoder(read).info == tuner.encoder(adapters).info
    found, expected = (tuner.encoder(a).encode_passages(PASSAGES) for a in (read, adapters))
    np.testing.assert_array_equal(found, expected)


def test_adapters_of_zeros_give_the_vectors_of_the_service(tuner: AdapterTuner, base: EncoderService) -> None:
    found = tuner.encoder(hand_made(0)).encode_passages(PASSAGES)
    np.testing.assert_allclose(found, base.encode_passages(PASSAGES), atol=1e-5)


def test_an_encoder_that_fell_off_the_shelf_is_loaded_again(model: Path, base: EncoderService) -> None:
    tuner = tuner_of(model, base, keep=1)
    first, second = tuner.encoder(hand_made(0.3)), tuner.encoder(hand_made(0.6))
    expected = first.encode_passages(PASSAGES)
    assert np.abs(second.encode_passages(PASSAGES) - expected).max() > 0.01
    np.testing.assert_array_equal(first.encode_passages(PASSAGES), expected)
    tuner.close()
    with pytest.raises(Unavailable, match="stopping"):
        first.encode_passages(PASSAGES)


def test_one_in_use_is_closed_when_it_is_given_back_and_many_threads_load_one(model: Path) -> None:
    checkpoint = load_checkpoint(model)
    loaded: list[EncoderService] = []

    def load(adapters: Arrays, info: EncoderInfo) -> EncoderService:
        loaded.append(EncoderService(checkpoint, TorchBackend(checkpoint.config, checkpoint.weights, 1)))
        return loaded[-1]

    shelf = EncoderShelf(load, keep=1)
    first, second = (EncoderInfo("tiny", name, 16, 32) for name in ("first", "second"))
    together = threading.Barrier(4)

    def borrow(_: int) -> EncoderService:
        together.wait(30)
        with shelf.borrow({}, first) as encoder:
            encoder.encode_queries(["w1"])
            return encoder

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(borrow, range(4)))) == len(loaded) == 1
    with shelf.borrow({}, first) as encoder, shelf.borrow({}, second):
        assert encoder.encode_queries(["w1"]).shape == (1, 16)
    with pytest.raises(Unavailable):
        loaded[0].encode_queries(["w1"])
    shelf.close()
    with pytest.raises(Unavailable):
        loaded[1].encode_queries(["w1"])


def test_bad_input_and_a_changed_folder_are_refused(model: Path, base: EncoderService) -> None:
    tuner = tuner_of(model, base)
    with pytest.raises(InvalidInput, match="at least two labels"):
        tuner.tune(TEXTS[:3], TRUTH[:3] & [True, False, False, False], 0, ignore)
    with pytest.raises(InvalidInput, match="3 texts, labels of 24"):
        tuner.tune(TEXTS[:3], TRUTH, 0, ignore)
    other = replace(base.info, fingerprint="0" * 64)
    changed = AdapterTuner(other, ModelSource(model, "openvino", "f32", 1))
    with pytest.raises(EncoderMismatch, match="restart the service"):
        changed.encoder(hand_made(1)).encode_passages(PASSAGES)


def test_without_torch_it_says_what_to_install(tuner: AdapterTuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"cognate\[torch\]"):
        tuner.tune(TEXTS, TRUTH, 0, ignore)
