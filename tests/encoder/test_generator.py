"""The generator as a service, over a tiny encoder and random weights."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import CheckpointError, EncoderMismatch, InvalidInput, Overloaded, Unavailable
from core.generation_types import GenerationOptions, GenerationTask
from core.ports.generation import Generator
from core.types import Float32, Int32, Lane
from encoder.backends.openvino_generator import SourceStates
from encoder.backends.torch_generator import read_sources
from encoder.encoder_decoder import EncoderDecoder
from encoder.generation.ending import Ending
from encoder.generation.search import generate
from encoder.generator import (
    GeneratorLimits,
    GeneratorService,
    load_generator,
    read_generator_info,
)
from encoder.generator_config import END, task_token
from encoder.generator_tokenizer import GeneratorTokenizer
from encoder.service import EncoderService
from tests.encoder.generators import FINGERPRINT, TEXTS, tiny_encoder, write_tiny_generator

ASK, TRANSLATE = GenerationTask.ASK, GenerationTask.TRANSLATE_EN_ES
SHORT = GenerationOptions(max_new_tokens=12)
WAIT_S = 10.0


@pytest.fixture(scope="module")
def encoder() -> Iterator[EncoderService]:
    encoder = tiny_encoder()
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generator")


@pytest.fixture(scope="module")
def model(folder: Path) -> EncoderDecoder:
    return write_tiny_generator(folder)


@pytest.fixture(scope="module")
def generator(folder: Path, model: EncoderDecoder, encoder: EncoderService) -> Iterator[GeneratorService]:
    generator = load_generator(folder, encoder, "f32")
    yield generator
    generator.close()


def test_it_is_a_generator_with_an_identity(generator: GeneratorService, folder: Path) -> None:
    port: Generator = generator
    info = port.info
    assert (info.id, info.encoder_fingerprint) == ("tiny", FINGERPRINT)
    assert (info.max_source_tokens, info.max_new_tokens) == (80, 24)
    assert {(standing.task, standing.is_stable) for standing in info.tasks} == {
        (ASK, True),
        (TRANSLATE, False),
    }
    assert read_generator_info(folder) == info


@pytest.mark.parametrize(
    "options",
    [
        replace(SHORT, beams=1),
        SHORT,
        replace(SHORT, beams=3, n=3, length_penalty=0.6),
        replace(SHORT, temperature=0.8, top_p=0.9, n=2, seed=4),
    ],
)
def test_the_same_search_over_the_torch_model_finds_the_same_texts(
    generator: GeneratorService,
    model: EncoderDecoder,
    folder: Path,
    encoder: EncoderService,
    options: GenerationOptions,
) -> None:
    tokenizer = GeneratorTokenizer((folder / "tokenizer.json").read_text())
    start = tokenizer.task_id(ASK)
    assert start is not None
    sources = []
    for aligned in tokenizer.align(TEXTS, encoder.pieces(TEXTS)):
        states = np.vstack([np.zeros((1, 16), np.float32), encoder.states(aligned.pieces)[aligned.places]])
        sources.append(SourceStates(np.r_[np.int32(start), aligned.token_ids], states))
    steps = read_sources(model, sources)
    silent = [i for i in tokenizer.special_ids.tolist() if i != END]
    advance = steps.step

    def step(tokens: Int32) -> Float32:
        log_probs = advance(tokens).copy()
        log_probs[:, silent] = -np.inf
        return log_probs

    steps.step = step  # type: ignore[method-assign]
    ending = Ending(frozenset({END}), options.max_new_tokens, tokenizer.decode)
    expected = generate(steps, np.full(len(TEXTS), start, np.int32), ending, options)
    found = generator.generate(ASK, TEXTS, options)
    assert [[one.text for one in texts] for texts in found] == [[one.text for one in t] for t in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-4)


def test_a_batch_gives_what_its_sources_give_alone(generator: GeneratorService) -> None:
    for options in (SHORT, replace(SHORT, temperature=1.0, seed=1), replace(SHORT, beams=1)):
        together = generator.generate(ASK, TEXTS, options)
        for text, found in zip(TEXTS, together, strict=True):
            (alone,) = generator.generate(ASK, [text], options)
            assert [one.text for one in alone] == [one.text for one in found]
            assert [one.score for one in alone] == pytest.approx([one.score for one in found], abs=1e-5)


def test_more_sources_than_rows_take_several_turns_and_keep_their_order(
    folder: Path, generator: GeneratorService, encoder: EncoderService
) -> None:
    sources = [TEXTS[i % len(TEXTS)][: 8 + i] for i in range(23)]
    narrow = load_generator(folder, encoder, "f32", limits=GeneratorLimits(max_rows=9))
    found = narrow.generate(ASK, sources, SHORT)
    narrow.close()
    expected = [generator.generate(ASK, [source], SHORT)[0] for source in sources]
    assert [[one.text for one in texts] for texts in found] == [[one.text for one in t] for t in expected]


def test_the_encoder_reads_each_source_once(
    generator: GeneratorService, encoder: EncoderService, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    states = encoder.states

    def counted(ids: Int32, lane: Lane) -> Float32:
        assert lane is Lane.BULK
        read.append(len(ids))
        return states(ids, lane)

    monkeypatch.setattr(encoder, "states", counted)
    generator.generate(ASK, TEXTS, SHORT)
    assert len(read) == len(TEXTS)
    list(generator.stream(ASK, TEXTS[0], SHORT))
    assert len(read) == len(TEXTS) + 1


@pytest.mark.parametrize("source", TEXTS)
def test_a_stream_adds_up_to_the_text_without_beams(generator: GeneratorService, source: str) -> None:
    for options in (replace(SHORT, beams=1), replace(SHORT, beams=1, temperature=1.0, seed=2)):
        pieces = list(generator.stream(ASK, source, options))
        (whole,) = generator.generate(ASK, [source], options)[0]
        assert "".join(piece.text for piece in pieces) == whole.text
        assert pieces[-1].finish is whole.finish


def test_a_stream_that_is_left_lets_the_next_call_go_on(generator: GeneratorService) -> None:
    pieces = generator.stream(ASK, TEXTS[0], SHORT)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert generator.generate(ASK, TEXTS[:1], SHORT)


@pytest.mark.parametrize("text", ["<end>", "<pad> a", task_token("ask"), "[CLS] [SEP] </s> <|endoftext|>"])
def test_what_looks_like_a_special_token_in_a_source_is_text(
    generator: GeneratorService, folder: Path, text: str
) -> None:
    tokenizer = GeneratorTokenizer((folder / "tokenizer.json").read_text())
    (ids,) = tokenizer.encode([text])
    assert not set(ids.tolist()) & set(tokenizer.special_ids.tolist())
    assert tokenizer.decode(ids.tolist()) == text
    assert generator.source_tokens([text]) == [len(ids)]
    (found,) = generator.generate(ASK, [text], SHORT)
    assert 1 <= found[0].tokens <= 12


@pytest.mark.parametrize(
    "text", ["日本語のテキスト", "русский текст", "عربي", "🐈‍⬛🇪🇸", "\ud83d half a pair", "\x00\x07 \u2028"]
)
def test_every_script_is_read(generator: GeneratorService, text: str) -> None:
    (found,) = generator.generate(TRANSLATE, [text], SHORT)
    assert found
    assert all(one.score <= 0 and one.tokens >= 1 for one in found)


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ([""], "Source 0 is empty"),
        (["fine", " \n "], "Source 1 is empty"),
        (["word " * 300], r"Source 0 has \d+ tokens; the generator reads at most 80"),
        ("one text", "wrap it in a list"),
        ([7], "expected a string"),
    ],
)
def test_sources_that_cannot_be_read_are_refused(
    generator: GeneratorService, sources: list[str], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        generator.generate(ASK, sources, SHORT)


def test_no_sources_give_no_texts(generator: GeneratorService) -> None:
    assert generator.generate(ASK, [], SHORT) == []


@pytest.mark.parametrize(
    "options", [replace(SHORT, n=0), replace(SHORT, n=100), replace(SHORT, max_new_tokens=25)]
)
def test_options_out_of_their_limits_are_refused_before_any_work(
    generator: GeneratorService, options: GenerationOptions
) -> None:
    with pytest.raises(InvalidInput, match="expected a whole number from 1 to"):
        generator.generate(ASK, TEXTS, options)
    with pytest.raises(InvalidInput, match="expected a whole number from 1 to"):
        generator.stream(ASK, TEXTS[0], options)


def test_a_task_that_the_vocabulary_does_not_have_is_refused_with_those_it_has(
    generator: GeneratorService,
) -> None:
    with pytest.raises(InvalidInput, match=r"no task 'split'; it knows ask, translate_en_es"):
        generator.generate(GenerationTask.SPLIT, TEXTS, SHORT)
    with pytest.raises(InvalidInput, match=r"no task 'sing'"):
        generator.generate("sing", TEXTS, SHORT)  # type: ignore[arg-type]  # as a caller of the port might


def test_many_threads_get_what_they_asked_for(generator: GeneratorService) -> None:
    expected = {text: generator.generate(ASK, [text], SHORT) for text in TEXTS}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: generator.generate(ASK, [text], SHORT), TEXTS * 6))
    assert found == [expected[text] for text in TEXTS * 6]


def test_a_generator_of_another_encoder_is_refused(folder: Path, model: EncoderDecoder) -> None:
    other = tiny_encoder("f" * 64)
    with pytest.raises(EncoderMismatch, match=r"eeeeeeeeeeee….*ffffffffffff….*COGNATE_GENERATOR_PATH"):
        load_generator(folder, other)
    other.close()


def test_a_folder_that_is_no_generator_is_refused(
    tmp_path: Path, folder: Path, model: EncoderDecoder, encoder: EncoderService
) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_generator(tmp_path / "none", encoder)
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    config = (damaged / "config.json").read_text().replace('"layers": 2', '"layers": 3')
    (damaged / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=r"no tensor 'decoder\.blocks\.2"):
        load_generator(damaged, encoder)


def test_the_fingerprint_is_of_weights_and_tokenizer_and_not_of_standings(
    tmp_path: Path, folder: Path, model: EncoderDecoder
) -> None:
    before = read_generator_info(folder).fingerprint
    other = shutil.copytree(folder, tmp_path / "other")
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"value": 0.3', '"value": 0.4'))
    assert read_generator_info(other).fingerprint == before
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + " ")
    assert read_generator_info(other).fingerprint != before


def test_calls_beyond_those_that_may_wait_are_refused(
    folder: Path, model: EncoderDecoder, encoder: EncoderService, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, may_go = threading.Event(), threading.Event()
    states = encoder.states

    def held(ids: Int32, lane: Lane) -> Float32:
        entered.set()
        assert may_go.wait(WAIT_S)
        return states(ids, lane)

    monkeypatch.setattr(encoder, "states", held)
    busy = load_generator(folder, encoder, limits=GeneratorLimits(max_waiting=1, timeout_s=0.2))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(busy.generate, ASK, TEXTS[:1], SHORT)
        assert entered.wait(WAIT_S)
        second = pool.submit(busy.generate, ASK, TEXTS[:1], SHORT)
        with pytest.raises(Overloaded, match=r"busy for 0\.2 s"):
            second.result(WAIT_S)
        may_go.set()
        assert first.result(WAIT_S)
    assert busy.generate(ASK, TEXTS[:1], SHORT)
    busy.close()
    with pytest.raises(Unavailable):
        busy.generate(ASK, TEXTS[:1], SHORT)
