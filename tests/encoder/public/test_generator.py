"""Public models as generators: prompts, searches, limits and refusals, on tiny random folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import CheckpointError, InvalidInput
from core.generation_types import FinishReason, GenerationOptions, GenerationTask
from encoder.generators import describe_generator, is_public, open_generator
from encoder.public.generator import PublicGenerator, load_public_generator
from encoder.service import EncoderService
from tests.encoder.public.folders import END, FAMILIES, PAD, public_folder

GREEDY = GenerationOptions(beams=1, max_new_tokens=6)
SOURCES = ["El niño 😀.", "a", "The cat sat."]
ONE_TASK = {"prompts": {"simplify": "Simplify: {}"}}


def write_use(folder: Path, **use: Any) -> None:
    (folder / "cognate.json").write_text(json.dumps(use))


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A generator of each family with one task, and the reference model."""
    folder, reference = public_folder(tmp_path_factory.mktemp(request.param), request.param)
    write_use(folder, **ONE_TASK, stop=[])
    generator = load_public_generator(folder, threads=1)
    yield generator, reference
    generator.close()


def greedy(generator: PublicGenerator, reference: Any, source: str) -> str:
    """What the reference says, token by token, without what a generator never says."""
    tokenizer = generator._tokenizer
    ids = torch.tensor([tokenizer.encode(f"Simplify: {source}").ids])
    starts = list(generator._use.starts)
    said: list[int] = []
    while len(said) < GREEDY.max_new_tokens:
        given = torch.tensor([[*starts, *said]])
        if starts:
            logits = reference(input_ids=ids, decoder_input_ids=given).logits[0, -1]
        else:
            logits = reference(torch.cat((ids, given.long()), 1)).logits[0, -1]
        logits[generator._silent.cpu()] = -torch.inf
        said.append(int(logits.argmax()))
        if said[-1] == END:
            break
    return str(tokenizer.decode(said, skip_special_tokens=True)).strip()


def test_texts_of_a_batch_are_those_of_the_reference(opened: tuple[PublicGenerator, Any]) -> None:
    generator, reference = opened
    found = generator.generate(GenerationTask.SIMPLIFY, SOURCES, GREEDY)
    assert [texts[0].text for texts in found] == [greedy(generator, reference, one) for one in SOURCES]


def test_beams_give_distinct_texts_best_first(opened: tuple[PublicGenerator, Any]) -> None:
    generator, _ = opened
    options = GenerationOptions(n=3, beams=4, max_new_tokens=6)
    found = generator.generate(GenerationTask.SIMPLIFY, SOURCES, options)
    for texts in found:
        assert len({one.text for one in texts}) == len(texts) <= 3
        assert [one.score for one in texts] == sorted((one.score for one in texts), reverse=True)
    assert max(map(len, found)) == 3


def test_a_stream_is_the_greedy_text(opened: tuple[PublicGenerator, Any]) -> None:
    generator, _ = opened
    (whole,) = generator.generate(GenerationTask.SIMPLIFY, SOURCES[:1], GREEDY)
    pieces = generator.stream(GenerationTask.SIMPLIFY, SOURCES[0], GREEDY)
    assert "".join(piece.text for piece in pieces).strip() == whole[0].text


def test_what_has_no_place_in_a_text_is_never_said(opened: tuple[PublicGenerator, Any]) -> None:
    generator, _ = opened
    steps, starts = generator._begun(generator._prompted(GenerationTask.SIMPLIFY, SOURCES))
    log_probs = steps.step(starts)
    silent = generator._silent.tolist()
    assert len(silent) >= 5  # rows beyond the vocabulary
    assert (log_probs[:, silent] == -float("inf")).all()
    assert END not in silent


def test_special_tokens_in_a_source_are_text(opened: tuple[PublicGenerator, Any]) -> None:
    generator, _ = opened
    (ids,) = generator._prompted(GenerationTask.SIMPLIFY, ["<pad></s>"])
    assert PAD not in ids.tolist()
    assert END not in ids[:-1].tolist()
    assert generator.source_tokens(["<pad></s>"]) == [9]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["fine", " \n"], "Source 1 is empty"),
        (["x" * 600], "Source 0 has 600 tokens; the generator reads at most"),
        ("a single text", "found a single string"),
    ],
)
def test_sources_that_cannot_be_read_are_refused(
    opened: tuple[PublicGenerator, Any], sources: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        opened[0].generate(GenerationTask.SIMPLIFY, sources, GREEDY)


@pytest.mark.parametrize("options", [GenerationOptions(n=0), GenerationOptions(n=100)])
def test_options_out_of_range_are_refused(
    opened: tuple[PublicGenerator, Any], options: GenerationOptions
) -> None:
    with pytest.raises(InvalidInput, match="'n' is"):
        opened[0].generate(GenerationTask.SIMPLIFY, SOURCES, options)


def test_a_task_without_a_prompt_is_refused(opened: tuple[PublicGenerator, Any]) -> None:
    with pytest.raises(InvalidInput, match="no prompt for the task 'split'; it has simplify"):
        opened[0].generate(GenerationTask.SPLIT, SOURCES, GREEDY)


def test_the_longest_source_fits_with_its_prompt(opened: tuple[PublicGenerator, Any]) -> None:
    generator, _ = opened
    longest = "x" * generator.info.max_source_tokens
    ((text,),) = generator.generate(
        GenerationTask.SIMPLIFY,
        [longest],
        GenerationOptions(beams=1, max_new_tokens=generator.info.max_new_tokens),
    )
    assert text.tokens <= generator.info.max_new_tokens


def test_every_task_is_experimental_and_no_encoder_is_named(opened: tuple[PublicGenerator, Any]) -> None:
    info = opened[0].info
    assert [(standing.task, standing.is_stable) for standing in info.tasks] == [("simplify", False)]
    assert info.encoder_fingerprint == ""


def test_t5_translates_by_its_own_prompt_and_knows_all_tasks(tmp_path: Path) -> None:
    generator = load_public_generator(public_folder(tmp_path, "t5")[0])
    assert {standing.task for standing in generator.info.tasks} == set(GenerationTask)
    (ids,) = generator._prompted(GenerationTask.TRANSLATE_EN_ES, ["A cat."])
    assert generator._decode(ids.tolist()) == "translate English to Spanish: A cat."
    generator.close()


def test_a_forced_first_token_stands_before_every_text(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path, "bart")
    (folder / "generation_config.json").write_text(json.dumps({"forced_bos_token_id": 7}))
    generator = load_public_generator(folder)
    assert generator._use.starts == (END, 7)
    ((text,),) = generator.generate(GenerationTask.PARAPHRASE, ["a"], GREEDY)
    assert text.finish in FinishReason
    generator.close()


def test_stop_texts_of_the_folder_end_a_text(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path, "gpt2")
    write_use(folder, **ONE_TASK, stop=[])
    generator = load_public_generator(folder)
    found = [texts[0] for texts in generator.generate(GenerationTask.SIMPLIFY, list("abcdefgh"), GREEDY)]
    source, whole = next((a, one) for a, one in zip("abcdefgh", found, strict=True) if one.text)
    generator.close()
    write_use(folder, **ONE_TASK, stop=[whole.text[0]])
    generator = load_public_generator(folder)
    ((cut,),) = generator.generate(GenerationTask.SIMPLIFY, [source], GREEDY)
    assert (cut.text, cut.finish) == ("", FinishReason.STOP)
    assert cut.tokens < whole.tokens
    generator.close()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ({"prompt": {}}, "has prompt; known are id, prompts, stop"),
        ({"prompts": {}}, "'prompts' must be an object"),
        ({"prompts": {"sing": "{}"}}, "the task 'sing'; known are clean_query"),
        ({"prompts": {"split": "Split this."}}, "it needs one '{}'"),
        ({"prompts": {"split": "{} {}"}}, "it needs one '{}'"),
        ({"max_new_tokens": 0}, "'max_new_tokens' is 0"),
        ({"max_source_tokens": "many"}, "'max_source_tokens' is 'many'"),
        ({"stop": "\n"}, "'stop' is"),
        ({"stop": [""]}, "'stop' is"),
    ],
)
def test_a_use_that_does_not_fit_is_refused(tmp_path: Path, use: dict[str, Any], message: str) -> None:
    folder, _ = public_folder(tmp_path, "t5")
    write_use(folder, **use)
    with pytest.raises(CheckpointError, match=message):
        load_public_generator(folder)


@pytest.mark.parametrize(
    ("use", "config", "message"),
    [
        ({"max_new_tokens": 33}, {}, "'max_new_tokens' is 33; the model has 32 positions"),
        ({}, {"n_positions": None}, "does not say how long"),
        ({}, {"eos_token_id": "</s>"}, "'eos_token_id' is '</s>'"),
    ],
)
def test_a_model_that_would_run_out_of_positions_or_has_no_limits_is_refused(
    tmp_path: Path, use: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    folder, _ = public_folder(tmp_path, "gpt2")
    write_use(folder, **use)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    (folder / "generation_config.json").unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=message):
        load_public_generator(folder)


def test_limits_and_name_of_the_folder_are_taken(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path, "t5")
    write_use(folder, id="mine", max_source_tokens=20, max_new_tokens=9)
    info = describe_generator(folder)
    assert (info.id, info.max_source_tokens, info.max_new_tokens) == ("mine", 20, 9)


def test_the_fingerprint_tells_prompts_apart_but_not_names(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path, "t5")
    found = []
    for use in ({"id": "a"}, {"id": "b"}, {"id": "a", **ONE_TASK}):
        write_use(folder, **use)
        found.append(describe_generator(folder).fingerprint)
    assert found[0] == found[1] != found[2]


def test_a_public_folder_is_opened_by_its_path(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path, "t5")
    assert is_public(folder)
    none: Any = None  # a public model reads no states
    encoder: EncoderService = none
    generator = open_generator(folder, encoder)
    assert generator.generate(GenerationTask.ASK, ["a"], GREEDY)[0]
    generator.close()
    with pytest.raises(CheckpointError, match="does not exist"):
        open_generator(tmp_path / "nowhere", encoder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="holds a list"):
        open_generator(folder, encoder)
