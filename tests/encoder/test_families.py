"""Public folders of each family: loaded, renamed, and equal to the reference implementation."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from core.errors import CheckpointError, StartRefused
from core.types import Float32
from encoder.backends.base import Int32
from encoder.backends.openvino_backend import OpenVinoBackend, Precision
from encoder.backends.torch_backend import TorchBackend
from encoder.calibrate import calibrate
from encoder.checkpoint import load_checkpoint, save_checkpoint
from encoder.config import Pooling
from encoder.service import BackendName, build_backend

LENGTHS = (31, 1, 17, 3)
WIDTHS = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "initializer_range": 0.5,
}
# 34 positions of which two lie before the first token, or 32.
CONFIGS = {
    "bert": BertConfig(**WIDTHS, max_position_embeddings=32),
    "roberta": RobertaConfig(**WIDTHS, max_position_embeddings=34, type_vocab_size=1),
    "xlm-roberta": XLMRobertaConfig(**WIDTHS, max_position_embeddings=34, type_vocab_size=1),
    "mpnet": MPNetConfig(**WIDTHS, max_position_embeddings=34),
    "distilbert": DistilBertConfig(
        vocab_size=50,
        dim=16,
        n_layers=2,
        n_heads=4,
        hidden_dim=24,
        max_position_embeddings=32,
        initializer_range=0.5,
    ),
    "modernbert": ModernBertConfig(
        **WIDTHS | {"num_hidden_layers": 5},
        max_position_embeddings=32,
        local_attention=8,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    ),
}
FAMILIES = sorted(CONFIGS)


def public_folder(folder: Path, config: PretrainedConfig, pooling: str = "mean_tokens") -> tuple[Path, Any]:
    """A folder with random weights in the public layout, and the reference model that wrote it."""
    torch.manual_seed(0)
    reference = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if parameter.dim() == 1:  # norms and biases start at 1 and 0, which would hide a swap
                parameter.add_(torch.randn_like(parameter) * (0.2 if name.endswith("bias") else 0.1))
    reference.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    return folder, reference


def batch() -> tuple[Int32, Int32]:
    """Ids from 4 up, so that none is a padding id of any family, which the reference would skip."""
    rng = np.random.default_rng(1)
    token_ids = np.zeros((len(LENGTHS), max(LENGTHS)), np.int32)
    for row, length in zip(token_ids, LENGTHS, strict=True):
        row[:length] = rng.integers(4, 50, length)
    return token_ids, np.array(LENGTHS, np.int32)


def reference_means(reference: Any) -> Float32:
    """Unit mean vectors of the batch by the reference implementation, each text alone."""
    token_ids, lengths = batch()
    means = []
    for ids, length in zip(token_ids, lengths, strict=True):
        with torch.inference_mode():
            states = reference(torch.from_numpy(ids[None, :length]).long()).last_hidden_state
        means.append(torch.nn.functional.normalize(states[0].mean(0), dim=0).numpy())
    return np.stack(means)


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_equal_those_of_the_reference_implementation(tmp_path: Path, family: str) -> None:
    folder, reference = public_folder(tmp_path / family, CONFIGS[family])
    checkpoint = load_checkpoint(folder)
    expected = reference_means(reference)
    assert np.abs(expected @ expected.T - np.eye(4)).max() < 0.99
    found = TorchBackend(checkpoint.config, checkpoint.weights).forward(*batch())
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_work_is_done_for_a_number_of_layers_that_cannot_be(tmp_path: Path, family: str) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS[family])
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    name = "n_layers" if family == "distilbert" else "num_hidden_layers"
    path.write_text(json.dumps({k: v for k, v in raw.items() if k != "layer_types"} | {name: 10**12}))
    with pytest.raises(CheckpointError, match="states 1000000000000 layers; at most 1000 are read"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("bert", {"is_decoder": True}, "sets is_decoder: its tokens see only those before them"),
        ("roberta", {"add_cross_attention": True}, "sets add_cross_attention"),
        ("bert", {"max_position_embeddings": float("nan")}, r"config\.json is damaged"),
        ("bert", {"model_type": ["bert"]}, r"holds a '\['bert'\]' model"),
        ("modernbert", {"layer_types": None, "global_attn_every_n_layers": 0}, r"config\.json is damaged"),
    ],
)
def test_decoders_and_damaged_settings_are_refused(
    tmp_path: Path, family: str, changes: dict[str, object], message: str
) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS[family])
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_blocks_that_the_config_leaves_out_are_not_read(tmp_path: Path, family: str) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS[family])
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    raw["num_hidden_layers"] -= 1
    if "layer_types" in raw:
        raw["layer_types"] = raw["layer_types"][:-1]
    path.write_text(json.dumps(raw))
    checkpoint = load_checkpoint(folder)
    found = TorchBackend(checkpoint.config, checkpoint.weights).forward(*batch())
    np.testing.assert_allclose(found, reference_means(AutoModel.from_pretrained(folder).eval()), atol=1e-5)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "modernbert"])
def test_openvino_computes_every_family_of_the_shape_of_bert(tmp_path: Path, family: str) -> None:
    folder, reference = public_folder(tmp_path / family, CONFIGS[family])
    checkpoint = load_checkpoint(folder)
    backend = OpenVinoBackend(checkpoint.config, checkpoint.weights, Precision.F32, threads=1)
    np.testing.assert_allclose(backend.forward(*batch()), reference_means(reference), atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing_and_states_nothing_that_is_not_a_number(tmp_path: Path, family: str) -> None:
    checkpoint = load_checkpoint(public_folder(tmp_path / family, CONFIGS[family])[0])
    backend = TorchBackend(checkpoint.config, checkpoint.weights)
    token_ids, lengths = batch()
    padded = np.pad(token_ids, ((0, 0), (0, 1)), constant_values=7)
    np.testing.assert_allclose(
        backend.forward(padded, lengths), backend.forward(token_ids, lengths), atol=1e-6
    )
    assert np.isfinite(backend.states(padded, lengths)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_saved_as_a_folder_of_ours_is_the_same_model(tmp_path: Path, family: str) -> None:
    first = load_checkpoint(public_folder(tmp_path / family, CONFIGS[family])[0])
    save_checkpoint(tmp_path / "ours", first.config, first.weights, first.tokenizer_json)
    second = load_checkpoint(tmp_path / "ours")
    assert second.config == first.config
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_may_be_as_long_as_the_positions_that_are_left(tmp_path: Path, family: str) -> None:
    config = load_checkpoint(public_folder(tmp_path / family, CONFIGS[family], "cls_token")[0]).config
    assert (config.max_positions, config.max_tokens, config.pooling) == (32, 32, Pooling.CLS)


def test_older_modernbert_configs_state_their_layers_by_a_period(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS["modernbert"])
    before = load_checkpoint(folder)
    raw = json.loads((folder / "config.json").read_text())
    del raw["layer_types"], raw["rope_parameters"]
    raw |= {"global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(raw))
    after = load_checkpoint(folder)
    assert after.config == before.config
    assert after.config.modern is not None
    assert after.config.modern.is_global == (True, False, False, True, False)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("attention_bias", True, "sets attention_bias; supported: modernbert without biases"),
        ("rope_parameters", {"full_attention": {"rope_type": "yarn"}}, "supported: rope_type 'default'"),
        (
            "rope_parameters",
            {"rope_type": "default", "rope_theta": 1e4},
            "states one rotation for all layers",
        ),
        ("layer_types", ["full_attention"], "for each of its 5 layers: full_attention or sliding_attention"),
        ("layer_types", ["linear"] * 5, "has the layer_types"),
        ("hidden_activation", "silu", "silu"),
    ],
)
def test_variants_of_modernbert_that_would_give_other_vectors_are_refused(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS["modernbert"])
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "modernbert"])
def test_norms_of_every_family_are_read_under_their_first_names(tmp_path: Path, family: str) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS[family])
    expected = load_checkpoint(folder).fingerprint
    path = folder / "model.safetensors"
    stored = load_file(path)
    first = {"weight": "gamma", "bias": "beta"}
    renamed = {
        re.sub(r"(LayerNorm|layer_norm)\.(weight|bias)$", lambda m: f"{m[1]}.{first[m[2]]}", name): array
        for name, array in stored.items()
    }
    assert len(renamed.keys() - stored.keys()) == 10  # five norms
    save_file(renamed, path)
    assert load_checkpoint(folder).fingerprint == expected


def test_modernbert_without_torch_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS["modernbert"])
    checkpoint = load_checkpoint(folder)
    monkeypatch.delitem(sys.modules, "encoder.backends.torch_backend")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(StartRefused, match=r"needs torch .*cognate\[torch\]"):
        build_backend(folder, checkpoint, BackendName.OPENVINO, Precision.INT8, threads=1)


def test_modernbert_has_no_ranges_to_calibrate(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS["modernbert"])
    with pytest.raises(CheckpointError, match="runs on torch in float32 and needs no ranges"):
        calibrate(folder, ["a text"])


def test_an_unknown_family_is_refused_with_the_list_of_known_ones(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS["bert"])
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "deberta-v2"}))
    expected = "'deberta-v2' model.*bert, roberta, xlm-roberta, mpnet, distilbert, modernbert"
    with pytest.raises(CheckpointError, match=expected):
        load_checkpoint(folder)


def test_pickled_weights_of_any_family_are_refused(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path / "a", CONFIGS["mpnet"])
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights"):
        load_checkpoint(folder)
