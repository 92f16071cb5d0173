"""Model folders: saving and loading is identity, and what is wrong with a folder is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from core.errors import CheckpointError
from encoder.checkpoint import (
    Reference,
    load_checkpoint,
    load_reference,
    save_checkpoint,
    save_reference,
)
from encoder.config import ModelConfig, Pooling
from tests.encoder.fakes import random_weights, tiny_config

TOKENIZER_JSON = '{"a": "tokenizer"}'


def saved(folder: Path, config: ModelConfig | None = None) -> Path:
    config = config or tiny_config()
    save_checkpoint(folder, config, random_weights(config), TOKENIZER_JSON)
    return folder


def test_saving_and_loading_is_identity(tmp_path: Path) -> None:
    config = replace(tiny_config(), query_prompt="query: ", passage_prompt="passage: ", normalize=False)
    loaded = load_checkpoint(saved(tmp_path / "model", config))
    assert loaded.config == config
    assert loaded.tokenizer_json == TOKENIZER_JSON
    weights = random_weights(config)
    assert loaded.weights.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded.weights[name], array)


def test_a_checkpoint_saved_again_has_the_same_fingerprint(tmp_path: Path) -> None:
    first = load_checkpoint(saved(tmp_path / "a"))
    save_checkpoint(tmp_path / "b", first.config, first.weights, first.tokenizer_json)
    assert load_checkpoint(tmp_path / "b").fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, max_tokens=16),
        lambda c: replace(c, query_prompt="query: "),
        lambda c: replace(c, passage_prompt="passage: "),
        lambda c: replace(c, normalize=False),
        lambda c: replace(c, pooling_heads=2),
    ],
)
def test_the_fingerprint_depends_on_how_the_model_is_used(
    tmp_path: Path, change: Callable[[ModelConfig], ModelConfig]
) -> None:
    before = load_checkpoint(saved(tmp_path / "a")).fingerprint
    assert load_checkpoint(saved(tmp_path / "b", change(tiny_config()))).fingerprint != before


def test_the_fingerprint_depends_on_weights_and_tokenizer_but_not_on_the_name(tmp_path: Path) -> None:
    config = tiny_config()
    before = load_checkpoint(saved(tmp_path / "a")).fingerprint
    changed = random_weights(config)
    changed["class_attention.query"][3] += 1e-3
    save_checkpoint(tmp_path / "b", config, changed, TOKENIZER_JSON)
    save_checkpoint(tmp_path / "c", config, random_weights(config), TOKENIZER_JSON + " ")
    save_checkpoint(tmp_path / "d", replace(config, id="other"), random_weights(config), TOKENIZER_JSON)
    assert load_checkpoint(tmp_path / "b").fingerprint != before
    assert load_checkpoint(tmp_path / "c").fingerprint != before
    assert load_checkpoint(tmp_path / "d").fingerprint == before


def test_another_input_length_changes_config_and_fingerprint(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a")
    shorter = load_checkpoint(folder, max_tokens=8)
    assert shorter.config.max_tokens == 8
    assert shorter.fingerprint != load_checkpoint(folder).fingerprint
    with pytest.raises(CheckpointError, match="max_tokens=41 must lie between 3 and the 40"):
        load_checkpoint(folder, max_tokens=41)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (saved(tmp_path / "a") / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        load_checkpoint(tmp_path / "a")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "size"), [("config.json", 20), ("model.safetensors", 4000)])
def test_a_file_cut_short_is_named(tmp_path: Path, name: str, size: int) -> None:
    path = saved(tmp_path / "a") / name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(tmp_path / "a")


def test_pickled_weights_are_refused_as_such(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "deberta-v2", "'deberta-v2' model"),
        ("position_embedding_type", "relative_key", "relative_key positions"),
        ("hidden_act", "swish", "swish"),
        ("hidden_size", 18, "not a multiple"),
        ("num_hidden_layers", 3, "no tensor 'encoder.layer.2"),
        ("vocab_size", 51, "word_embeddings"),
    ],
)
def test_an_unsupported_or_contradicting_config_is_refused(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    path = saved(tmp_path / "a") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a")


def test_the_folder_one_is_in_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = public_folder(tmp_path / "public-model", {"pooling_mode_mean_tokens": True})
    monkeypatch.chdir(folder)
    assert load_checkpoint(Path()).config.id == "public-model"


def test_a_public_folder_brings_its_pooling_length_and_prompts(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "public-model", {"pooling_mode_mean_tokens": True})
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    config = load_checkpoint(folder).config
    assert (config.id, config.pooling, config.max_tokens) == ("public-model", Pooling.MEAN, 24)
    assert (config.query_prompt, config.passage_prompt) == ("query: ", "passage: ")


def test_prompts_are_those_that_sentence_transformers_would_take(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {"pooling_mode_mean_tokens": True})
    path = folder / "config_sentence_transformers.json"
    for config, expected in (
        ({"prompts": {"query": "q: ", "corpus": "c: "}}, ("q: ", "c: ")),
        ({"prompts": {"query": "q: ", "all": "a: "}, "default_prompt_name": "all"}, ("q: ", "a: ")),
        ({"prompts": {"query": "", "document": ""}, "default_prompt_name": None}, ("", "")),
    ):
        path.write_text(json.dumps(config))
        found = load_checkpoint(folder).config
        assert (found.query_prompt, found.passage_prompt) == expected


def test_pooling_is_read_where_the_modules_say_and_never_guessed(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {"pooling_mode_mean_tokens": True})
    (folder / "1_Pooling").rename(folder / "pool")
    modules = [{"type": "sentence_transformers.models.Pooling", "path": "pool"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    assert load_checkpoint(folder).config.pooling is Pooling.MEAN
    (folder / "pool" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"pool/config.json is missing"):
        load_checkpoint(folder)


def test_pooling_that_leaves_the_prompt_out_is_refused(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {"pooling_mode_mean_tokens": True, "include_prompt": False})
    assert load_checkpoint(folder).config.pooling is Pooling.MEAN  # it has no prompt
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: "}}')
    with pytest.raises(CheckpointError, match="pools without its prompts"):
        load_checkpoint(folder)


def test_a_public_folder_may_pool_by_its_cls_token_and_is_as_long_as_its_positions(tmp_path: Path) -> None:
    config = load_checkpoint(public_folder(tmp_path / "a", {"pooling_mode_cls_token": True})).config
    assert (config.pooling, config.max_tokens) == (Pooling.CLS, 40)


def test_other_pooling_and_other_modules_are_refused(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {"pooling_mode_max_tokens": True})
    with pytest.raises(CheckpointError, match="pooling_mode_max_tokens"):
        load_checkpoint(folder)
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(CheckpointError, match="Dense"):
        load_checkpoint(folder)


def public_folder(folder: Path, pooling: dict[str, bool]) -> Path:
    """A folder as sentence-transformers writes it, with prefixed names and tensors we do not use."""
    base = tiny_config(Pooling.MEAN)
    saved(folder, base)
    raw = json.loads((folder / "config.json").read_text())
    del raw["cognate"]
    (folder / "config.json").write_text(json.dumps(raw))
    tensors = {f"bert.{name}": array for name, array in random_weights(base).items()}
    tensors["bert.embeddings.position_ids"] = np.arange(40, dtype=np.float32)[None]
    tensors["bert.pooler.dense.bias"] = np.zeros(16, np.float32)
    save_file(tensors, folder / "model.safetensors")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def test_reference_vectors_come_back_as_they_were(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    save_reference(tmp_path, Reference(("naïve", "b"), vectors, 32))
    loaded = load_reference(tmp_path)
    assert loaded is not None
    assert (loaded.texts, loaded.max_tokens) == (("naïve", "b"), 32)
    np.testing.assert_array_equal(loaded.vectors, vectors)


def test_reference_vectors_are_optional_but_must_match_their_texts(tmp_path: Path) -> None:
    assert load_reference(tmp_path) is None
    save_reference(tmp_path, Reference(("a", "b"), np.zeros((3, 16), np.float32), 32))
    with pytest.raises(CheckpointError, match="3 reference vectors for 2 texts"):
        load_reference(tmp_path)
