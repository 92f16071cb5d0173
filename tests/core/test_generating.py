"""The generator is loaded when it is needed, and few may wait for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import core.generating
from core.errors import CheckpointError, EncoderMismatch, Overloaded, Unavailable
from core.generating import GenerationService
from core.generation_types import GenerationOptions, GenerationTask, GeneratorInfo
from tests.fakes import FakeGenerator, FakeGeneratorSource, RecordingGenerationMeter

ONE = GenerationOptions(beams=1)
TASK = GenerationTask.PARAPHRASE


def service(generator: FakeGenerator, max_waiting: int = 16) -> GenerationService:
    return GenerationService(FakeGeneratorSource(generator), RecordingGenerationMeter(), max_waiting)


def test_it_is_loaded_at_the_first_call_and_once() -> None:
    source = FakeGeneratorSource(FakeGenerator())
    generation = GenerationService(source, RecordingGenerationMeter())
    assert generation.info.id == "fake-generator"
    assert (source.loads, generation.is_loaded) == (0, False)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: generation.generate(TASK, [f"a {i}"], ONE), range(8)))
    assert [of_one[0][0].text for of_one in found] == [f"{i} a" for i in range(8)]
    assert (source.loads, generation.is_loaded) == (1, True)


def test_calls_beyond_the_queue_are_refused_and_those_in_it_are_answered() -> None:
    gate = threading.Event()

    def before() -> None:
        assert gate.wait(10)

    generation = service(FakeGenerator(before=before), max_waiting=2)
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(generation.generate, TASK, ["a b"], ONE) for _ in range(3)]
        while generation._places._value:
            pass
        with pytest.raises(Overloaded, match="2 generations wait already") as refused:
            generation.generate(TASK, ["a b"], ONE)
        with pytest.raises(Overloaded):
            generation.stream(TASK, "a b", ONE)
        assert refused.value.retry_after_s >= 1
        gate.set()
        assert all(one.result()[0][0].text == "b a" for one in held)
    assert generation.generate(TASK, ["a b"], ONE)[0][0].text == "b a"


def test_a_stream_gives_its_place_back_at_its_end_and_when_it_is_closed() -> None:
    meter = RecordingGenerationMeter()
    generation = GenerationService(FakeGeneratorSource(FakeGenerator()), meter, max_waiting=0)
    assert "".join(generation.stream(TASK, "a b c", ONE)) == "c b a"
    assert meter.told == [("generated", "paraphrase", "3")]
    broken = generation.stream(TASK, "a b c", ONE)
    assert next(broken) == "c"
    with pytest.raises(Overloaded):
        generation.generate(TASK, ["a"], ONE)
    broken.close()
    never_begun = generation.stream(TASK, "a b c", ONE)
    never_begun.close()
    assert generation.generate(TASK, ["a b"], ONE)[0][0].text == "b a"


def test_a_slow_reader_of_a_stream_keeps_nobody_waiting() -> None:
    generation = service(FakeGenerator(writes_ahead=True), max_waiting=0)
    slow = generation.stream(TASK, "a b c", ONE)
    assert next(slow) == "c"
    assert generation.generate(TASK, ["a b"], ONE)[0][0].text == "b a"
    with closing(generation.stream(TASK, "d e", ONE)) as other:
        assert "".join(other) == "e d"
    assert "".join(slow) == " b a"
    held = service(FakeGenerator(), max_waiting=0)  # places are given back once, not once for each cause
    for _ in range(2):
        assert "".join(held.stream(TASK, "a b", ONE)) == "b a"
    assert held._places._value == 1


def test_a_stream_that_cannot_begin_gives_its_place_back() -> None:
    def fail() -> None:
        raise Unavailable("no")

    generation = service(FakeGenerator(before=fail), max_waiting=0)
    for _ in range(2):
        with pytest.raises(Unavailable, match="no"):
            generation.stream(TASK, "a", ONE)


def test_what_is_wrong_with_the_folder_is_told_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    damaged = FakeGeneratorSource(FakeGenerator(), CheckpointError("/secret/model is damaged"))
    generation = GenerationService(damaged, RecordingGenerationMeter())
    with pytest.raises(Unavailable, match="log says why") as told:
        _ = generation.info
    assert "secret" not in str(told.value)
    assert "/secret/model is damaged" in caplog.text
    assert generation.problem is not None
    other = FakeGeneratorSource(FakeGenerator(), EncoderMismatch("it reads states of another encoder"))
    with pytest.raises(Unavailable, match="another encoder"):
        _ = GenerationService(other, RecordingGenerationMeter()).info


def test_a_server_without_a_generator_says_so() -> None:
    generation = GenerationService(None, RecordingGenerationMeter())
    assert generation.problem is None
    with pytest.raises(Unavailable, match="COGNATE_GENERATOR_PATH"):
        generation.generate(TASK, ["a"], ONE)


def test_a_generator_that_cannot_be_used_is_not_looked_at_for_each_who_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    class Damaged(FakeGeneratorSource):
        def info(self) -> GeneratorInfo:
            nonlocal looks
            looks += 1
            raise CheckpointError("damaged")

    generation = GenerationService(Damaged(FakeGenerator()), RecordingGenerationMeter())
    assert [generation.problem is None for _ in range(3)] == [False] * 3
    assert looks == 1
    monkeypatch.setattr(core.generating, "LOOK_AGAIN_S", 0.0)
    generation = GenerationService(Damaged(FakeGenerator()), RecordingGenerationMeter())
    assert [generation.problem is None for _ in range(2)] == [False] * 2
    assert looks == 3
