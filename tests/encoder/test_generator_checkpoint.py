"""Configs and folders of generators: round trips, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CheckpointError
from core.generation_types import GenerationTask, TaskStanding
from encoder.encoder_decoder import EncoderDecoder
from encoder.generator_checkpoint import load_generator_checkpoint, save_generator
from encoder.generator_config import DecoderConfig, GeneratorConfig, generator_from_json, generator_to_json
from encoder.generator_tokenizer import train_tokenizer
from tests.encoder.generator_fakes import generator_config, random_generator, some_ids, some_source

STANDINGS = st.builds(
    TaskStanding,
    st.sampled_from(GenerationTask),
    st.booleans(),
    st.text(max_size=9),
    st.none() | st.floats(0, 100),
    st.none() | st.floats(0, 100),
)
CONFIGS = st.builds(
    GeneratorConfig,
    st.text(max_size=9),
    st.builds(DecoderConfig, st.integers(1, 9), st.just(24), st.integers(1, 4), st.sampled_from([2, 4, 6])),
    st.integers(1, 9),
    st.text(max_size=9),
    st.integers(0, 4),
    tasks=st.lists(STANDINGS, max_size=3).map(tuple),
)


def saved(folder: Path) -> tuple[Path, EncoderDecoder]:
    model = random_generator()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())  # what the folder can hold
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    save_generator(folder, model.config, weights, train_tokenizer(["a text"], 270, ["ask"]))
    return folder, model


@given(CONFIGS)
def test_a_config_survives_its_file(config: GeneratorConfig) -> None:
    assert generator_from_json(json.loads(json.dumps(generator_to_json(config)))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "t5"}, "type 'cognate-generator', found 't5'"),
        ({"unknown": 1}, "does not describe a generator.*unknown"),
        ({"decoder": {"vocab_size": 5, "d": 16, "heads": 3}}, "d=16 with 3 heads"),
        ({"decoder": {"vocab_size": 5, "colour": 1}}, "colour"),
        ({"decoder": 5}, "does not describe a generator"),
        ({"tasks": [{"task": "sing"}]}, "'sing' is not a valid"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        generator_from_json({**generator_to_json(generator_config()), **change})


def test_a_config_without_its_decoder_is_refused() -> None:
    content = generator_to_json(generator_config())
    del content["decoder"]
    with pytest.raises(CheckpointError, match="does not describe a generator: 'decoder'"):
        generator_from_json(content)


def test_a_saved_generator_says_what_it_said_before(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    loaded = load_generator_checkpoint(folder)
    assert loaded.config == model.config
    assert {array.dtype for array in loaded.weights.values()} == {np.dtype(np.float32)}
    other = EncoderDecoder(loaded.config).eval()
    other.load_state_dict({name: torch.from_numpy(array) for name, array in loaded.weights.items()})
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=0, atol=0)
    source, inputs = some_source((5, 3)), some_ids(2, 4)
    before, after = (one.step(one.read(source), inputs, None)[0] for one in (model, other))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    wider = replace(model.config, source_layers=3)
    (folder / "config.json").write_text(json.dumps(generator_to_json(wider)))
    with pytest.raises(CheckpointError, match=r"no tensor 'reader\.blocks\.2"):
        load_generator_checkpoint(folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    (folder / "model.safetensors").rename(folder / "model.pt")
    with pytest.raises(CheckpointError, match="pickled weights"):
        load_generator_checkpoint(folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_without_one_of_its_files_is_refused(tmp_path: Path, missing: str) -> None:
    folder, _ = saved(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=f"{missing} is missing"):
        load_generator_checkpoint(folder)
