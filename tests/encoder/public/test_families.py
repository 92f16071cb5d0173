"""Public models in our layers: equal to the reference implementation, cached or not, padded or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.t5.modeling_t5 import T5Attention

from core.errors import CheckpointError
from encoder.parameters import bucket_of
from encoder.public.decoding import Decoding, PublicModel
from encoder.public.folder import load_public_checkpoint
from tests.encoder.public.folders import ENCODER_DECODERS, FAMILIES, PAD, V, public_folder

LENGTHS = (19, 7, 1)
T = 15
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-4}


def some_ids(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(3, V, shape, generator=torch.Generator().manual_seed(seed))


def sources() -> tuple[Tensor, Tensor]:
    """Ids, padded behind, and where they are text."""
    is_text = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.where(is_text, some_ids(*is_text.shape), PAD), is_text


def in_parts(model: PublicModel, token_ids: Tensor, decoding: Decoding, sizes: tuple[int, ...]) -> Tensor:
    """Logits of all tokens, given in parts of these sizes."""
    found = []
    for part in token_ids.split(sizes, 1):  # type: ignore[no-untyped-call]
        logits, decoding = model(part, decoding)
        found.append(logits)
    return torch.cat(found, 1)


@pytest.mark.parametrize("sizes", [(T,), (1,) * T, (4, 1, 10)])
@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_an_encoder_decoder_equals_the_reference(tmp_path: Path, family: str, sizes: tuple[int, ...]) -> None:
    folder, reference = public_folder(tmp_path, family)
    model = load_public_checkpoint(folder).model
    token_ids, is_text = sources()
    targets = some_ids(3, T, seed=2)
    expected = reference(input_ids=token_ids, attention_mask=is_text.long(), decoder_input_ids=targets).logits
    found = in_parts(model, targets, model.read(token_ids, is_text), sizes)
    assert expected.std() > 0.5
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("sizes", [(T,), (1,) * T, (4, 1, 10)])
def test_gpt2_equals_the_reference(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    folder, reference = public_folder(tmp_path, "gpt2")
    model = load_public_checkpoint(folder).model
    ids = some_ids(3, T)
    torch.testing.assert_close(in_parts(model, ids, Decoding(), sizes), reference(ids).logits, **CLOSE)


def test_gpt2_goes_on_with_prompts_of_different_lengths_as_with_each_alone(tmp_path: Path) -> None:
    folder, reference = public_folder(tmp_path, "gpt2")
    model = load_public_checkpoint(folder).model
    prompts, new = [some_ids(1, n, seed=n) for n in (9, 4, 0)], some_ids(3, 5)
    padded = torch.cat([torch.nn.functional.pad(one, (9 - one.shape[1], 0)) for one in prompts])
    is_text = torch.arange(9) >= torch.tensor([0, 5, 9])[:, None]
    found = in_parts(model, new, model.read(padded, is_text), (2, 1, 2))
    for row, prompt in enumerate(prompts):
        whole = torch.cat((prompt, new[row : row + 1]), 1)
        torch.testing.assert_close(found[row], reference(whole).logits[0, -5:], **CLOSE)


@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_each_of_a_batch_equals_it_alone(tmp_path: Path, family: str) -> None:
    model = load_public_checkpoint(public_folder(tmp_path, family)[0]).model
    token_ids, is_text = sources()
    targets = some_ids(3, T, seed=2)
    together, _ = model(targets, model.read(token_ids, is_text))
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        read = model.read(token_ids[one, :length], is_text[one, :length])
        torch.testing.assert_close(together[one], model(targets[one], read)[0], **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_token_changes_what_is_said_before_it(tmp_path: Path, family: str) -> None:
    model = load_public_checkpoint(public_folder(tmp_path, family)[0]).model
    read = Decoding() if family == "gpt2" else model.read(*sources())
    ids = some_ids(3, T)
    changed = ids.clone()
    changed[:, 8] = ids[:, 8] % (V - 3) + 3
    for sizes in ((T,), (4, 11)):
        before, after = in_parts(model, ids, read, sizes), in_parts(model, changed, read, sizes)
        torch.testing.assert_close(before[:, :8], after[:, :8], rtol=0, atol=0)
        assert not torch.allclose(before[:, 8], after[:, 8])


@pytest.mark.parametrize("is_bidirectional", [True, False])
def test_positions_share_a_bias_as_in_the_reference(is_bidirectional: bool) -> None:
    offsets = np.arange(-300, 300)
    expected = T5Attention._relative_position_bucket(torch.from_numpy(offsets), is_bidirectional, 32, 128)
    np.testing.assert_array_equal(bucket_of(offsets, 32, 128, is_bidirectional), expected)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_read_as_float32(tmp_path: Path, family: str, precision: torch.dtype) -> None:
    folder, reference = public_folder(tmp_path / "float32", family)
    reference.to(precision).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    model = load_public_checkpoint(tmp_path).model
    assert {w.dtype for w in model.parameters()} == {torch.float32}  # type: ignore[attr-defined]
    torch.testing.assert_close(model.embedding.weight, reference.get_input_embeddings().weight.float())  # type: ignore[attr-defined]


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    folder, reference = public_folder(tmp_path / "one", "t5")
    reference.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    one, several = (load_public_checkpoint(path).model for path in (folder, tmp_path))
    targets = some_ids(3, T)
    torch.testing.assert_close(
        one(targets, one.read(*sources()))[0], several(targets, several.read(*sources()))[0], rtol=0, atol=0
    )


def test_a_folder_of_another_architecture_is_refused_with_the_list(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(CheckpointError, match=r"'llama' model.*cognate-generator, bart, gpt2, marian, t5"):
        load_public_checkpoint(tmp_path)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder, _ = public_folder(tmp_path, "t5")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights"):
        load_public_checkpoint(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_public_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("bart", {"tie_word_embeddings": False}, "tie_word_embeddings=false"),
        ("marian", {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings=false"),
        ("t5", {"feed_forward_proj": "tanh"}, "activation 'tanh' is not supported; known: relu"),
        ("t5", {"d_model": 32}, r"is \(264, 16\), its config says \(264, 32\)"),
        ("t5", {"num_layers": 3}, "has no tensor 'encoder.blocks.2"),
        (
            "bart",
            {"decoder_layers": 2},
            "tensors that its config does not tell of, such as 'decoder.blocks.2",
        ),
        ("gpt2", {"n_embd": None}, "damaged"),
    ],
)
def test_configs_that_do_not_fit_are_refused(
    tmp_path: Path, family: str, change: dict[str, Any], message: str
) -> None:
    folder, _ = public_folder(tmp_path, family)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=message):
        load_public_checkpoint(folder)
