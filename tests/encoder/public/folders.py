"""Tiny random folders in the public layout, and the reference models that wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    T5Config,
    T5ForConditionalGeneration,
)

PAD, END, START = 0, 1, 2
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
V = 264  # more rows than tokens, as T5 has
_T5 = {
    "vocab_size": V,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 24,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "decoder_start_token_id": PAD,
}
_BART = {
    "vocab_size": V,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "bos_token_id": START,
    "forced_eos_token_id": None,
    "decoder_start_token_id": END,
}
CONFIGS: Mapping[str, tuple[type[Any], Any]] = {
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config(
            vocab_size=V, n_positions=64, n_embd=16, n_layer=3, n_head=4, eos_token_id=END, bos_token_id=END
        ),
    ),
    "t5": (T5ForConditionalGeneration, T5Config(**_T5)),
    "flan-t5": (
        T5ForConditionalGeneration,
        T5Config(**_T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    ),
    "bart": (BartForConditionalGeneration, BartConfig(**_BART)),
    "bart-scaled": (
        BartForConditionalGeneration,
        BartConfig(**_BART, scale_embedding=True, activation_function="gelu_new"),
    ),
    "marian": (
        MarianMTModel,
        MarianConfig(
            **_BART | {"decoder_start_token_id": PAD}, scale_embedding=True, activation_function="swish"
        ),
    ),
}
FAMILIES = sorted(CONFIGS)
ENCODER_DECODERS = [family for family in FAMILIES if family != "gpt2"]


def public_folder(folder: Path, family: str) -> tuple[Path, Any]:
    """A folder with random weights, and the reference model."""
    torch.manual_seed(0)
    kind, config = CONFIGS[family]
    reference = kind(config).eval().requires_grad_(False)
    if family == "flan-t5":
        reference.lm_head.weight = torch.nn.Parameter(torch.randn(V, 16) * 0.2, requires_grad=False)
    for name, parameter in reference.named_parameters():
        if parameter.dim() == 1:  # norms and biases start at 1 and 0, which would hide a swap
            parameter.add_(torch.randn_like(parameter) * (0.3 if name.endswith("bias") else 0.2))
        elif "embed_positions" not in name or family != "marian":
            parameter.add_(torch.randn_like(parameter) * 0.3)
    if hasattr(reference, "final_logits_bias"):
        reference.final_logits_bias.add_(torch.randn(1, V))
    reference.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_json(has_end=family != "gpt2"))
    return folder, reference


def tokenizer_json(has_end: bool) -> str:
    """A token a byte; texts end with the end token where the model has an encoder."""
    vocab = {"<pad>": PAD, "</s>": END, "<s>": START} | {byte: i + 3 for i, byte in enumerate(ALPHABET)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<s>"])
    if has_end:
        tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    return str(tokenizer.to_str())
