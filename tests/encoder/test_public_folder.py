"""Folders of sentence-transformers are used as sentence-transformers uses them; damaged ones are refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from core.errors import CheckpointError, StartRefused
from core.types import PassageText
from encoder.checkpoint import load_checkpoint
from encoder.service import load_encoder

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "Hello", "World"),
    *("a", "b", "c", "d", "e", "f", "query", ":", "the", "cat"),
]
SIZES, PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"
TOKENIZER = "tokenizer_config.json"
LONG = "hello world a b c d e f " * 8


def public_folder(folder: Path, files: dict[str, Any]) -> Path:
    """A tiny BERT that tells upper from lower case, pooled by the mean; `files` are written over its own."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, initializer_range=0.3, **shape)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    words = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = ("", "Transformer"), ("1_Pooling", "Pooling")
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}
    own = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(kinds)
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
        TOKENIZER: {"tokenizer_class": "PreTrainedTokenizerFast", **special},
        "config.json": json.loads((folder / "config.json").read_text()),
    }
    for name, content in files.items():
        own[name] = {**own.get(name, {}), **content}
    for name, content in own.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, "Hello World the cat"),
        ({SIZES: {"max_seq_length": 64, "do_lower_case": True}}, "Hello World the cat"),
        ({SIZES: {"do_lower_case": True}, "config.json": {"cognate": None}}, "Hello World the cat"),
        ({TOKENIZER: {"model_max_length": 16}}, LONG),
        ({TOKENIZER: {"model_max_length": 16}, SIZES: {"max_seq_length": None}}, LONG),
        ({TOKENIZER: {"model_max_length": int(1e30)}}, LONG),
        ({SIZES: {"max_seq_length": 12}, TOKENIZER: {"model_max_length": 16}}, LONG),
        (
            {
                PROMPTS: {
                    "prompts": {"query": "", "document": "", "x": "the cat : "},
                    "default_prompt_name": "x",
                }
            },
            "hello world",
        ),
        (
            {PROMPTS: {"prompts": {"query": "query : ", "document": ""}, "default_prompt_name": "query"}},
            "hello world",
        ),
    ],
)
def test_vectors_are_those_of_sentence_transformers(tmp_path: Path, files: dict[str, Any], text: str) -> None:
    folder = public_folder(tmp_path / "a", files)
    reference = SentenceTransformer(str(folder), device="cpu")
    service = load_encoder(folder, backend="torch", threads=1)
    try:
        query, passage = service.encode_queries([text]), service.encode_passages([PassageText("", text)])
    finally:
        service.close()
    assert query == pytest.approx(reference.encode_query([text], normalize_embeddings=True), abs=1e-5)
    assert passage == pytest.approx(reference.encode_document([text], normalize_embeddings=True), abs=1e-5)


@pytest.mark.parametrize("kind", ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", None])
@pytest.mark.parametrize("stated", [{"do_lower_case": True}, {"do_lower_case": False}])
def test_a_tokenizer_of_the_kind_of_bert_normalises_as_its_config_says(
    tmp_path: Path, kind: str | None, stated: dict[str, bool]
) -> None:
    text = "Hello World the cat"
    folder = public_folder(tmp_path / "a", {TOKENIZER: {**stated, "tokenizer_class": kind}})
    reference = SentenceTransformer(str(folder), device="cpu").encode([text], normalize_embeddings=True)
    service = load_encoder(folder, backend="torch", threads=1)
    try:
        assert service.encode_queries([text]) == pytest.approx(reference, abs=1e-5)
    finally:
        service.close()


def test_a_tokenizer_that_is_as_its_config_says_is_left_alone(tmp_path: Path) -> None:
    folder = public_folder(
        tmp_path / "a", {TOKENIZER: {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}}
    )
    assert load_checkpoint(folder).tokenizer_json == (folder / "tokenizer.json").read_text()


def test_a_tokenizer_that_lowers_by_itself_stays_as_it_is(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {SIZES: {"do_lower_case": True}})
    path = folder / "tokenizer.json"
    lowering = path.read_text().replace('"lowercase": false', '"lowercase": true')
    assert lowering != path.read_text()
    path.write_text(lowering)
    assert load_checkpoint(folder).tokenizer_json == lowering


def test_weights_under_the_names_of_the_first_bert_are_read(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {})
    expected = load_checkpoint(folder)
    path = folder / "model.safetensors"
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in load_file(path).items()
    }
    assert any(name.endswith("gamma") for name in renamed)
    save_file(renamed, path, {"format": "pt"})
    assert load_checkpoint(folder).fingerprint == expected.fingerprint


def test_a_tokenizer_with_more_tokens_than_the_weights_have_vectors_is_refused(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["[NEW]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=rf"has the id {len(WORDS)}, .* vectors of {len(WORDS)} ids"):
        load_encoder(folder, precision="f32", threads=1)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", [], r"config\.json holds a list; an object is expected"),
        ("modules.json", {}, r"modules\.json holds a dict; a list is expected"),
        (SIZES, [], f"{SIZES} holds a list"),
        ("1_Pooling/config.json", 3, r"1_Pooling/config\.json holds a int"),
        (PROMPTS, {"prompts": ["query: "]}, rf"{PROMPTS} has the prompts \['query: '\]; an object"),
        (PROMPTS, {"prompts": {"query": 3}}, rf"{PROMPTS} has the prompts {{'query': 3}}; an object"),
        (PROMPTS, {"default_prompt_name": ["query"]}, r"default_prompt_name \['query'\]; a text is expected"),
        (SIZES, {"max_seq_length": "16"}, f"{SIZES} has the max_seq_length '16'; a number of tokens"),
        ("modules.json", [{"path": ""}], r"modules\.json lists {'path': ''}; an object with 'type'"),
        ("modules.json", [{"type": "a.Pooling", "path": 3}], r"modules\.json has the path 3"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, name: str, content: object, told: str) -> None:
    folder = public_folder(tmp_path / "a", {})
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=told):
        load_checkpoint(folder)


@pytest.mark.parametrize("content", ["not json", "[]", '{"normalizer": 3}', '{"normalizer": {}}'])
def test_a_tokenizer_to_be_lowered_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    folder = public_folder(tmp_path / "a", {SIZES: {"do_lower_case": True}})
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
        load_checkpoint(folder)


def test_no_prompts_may_be_written_as_null(tmp_path: Path) -> None:
    folder = public_folder(tmp_path / "a", {PROMPTS: {"prompts": None}})
    assert load_checkpoint(folder).config.query_prompt == ""


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("num_attention_heads", 0, r"heads=0 must be a whole number from 1 on"),
        ("hidden_size", "32", r"d='32' must be a whole number"),
        ("num_hidden_layers", -1, r"layers=-1 must be"),
        ("layer_norm_eps", None, r"layer_norm_eps=None must be a number from 0 on"),
        ("layer_norm_eps", -1, r"layer_norm_eps=-1 must be"),
        ("hidden_act", "gelu_new", r"computes 'gelu_new'; supported: gelu, relu"),
    ],
)
def test_shapes_that_cannot_be_are_refused(tmp_path: Path, field: str, value: object, told: str) -> None:
    folder = public_folder(tmp_path / "a", {})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(CheckpointError, match=told):
        load_checkpoint(folder)


def test_without_torch_its_backend_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = public_folder(tmp_path / "a", {})
    monkeypatch.delitem(sys.modules, "encoder.backends.torch_backend", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(StartRefused, match=r"needs torch .*cognate\[torch\]"):
        load_encoder(folder, backend="torch", threads=1)
