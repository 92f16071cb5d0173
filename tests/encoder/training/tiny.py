"""A tiny model folder with a tokenizer of words, and files of pairs for it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from core.types import Float32, PassageText
from encoder.backends.base import Int32
from encoder.checkpoint import save_checkpoint
from encoder.config import ModelConfig
from encoder.training.mining import NONE
from encoder.training.pairs import NO_LABEL, PairSet
from encoder.training.settings import PairFile, TrainSettings
from encoder.training.sources import Source
from tests.encoder.fakes import random_weights, tiny_config

WORDS = [f"w{i}" for i in range(47)]


def tiny_tokenizer_json() -> str:
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2} | {word: i + 3 for i, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return str(tokenizer.to_str())


def save_tiny_model(folder: Path, config: ModelConfig | None = None) -> Path:
    config = config or tiny_config()
    save_checkpoint(folder, config, random_weights(config), tiny_tokenizer_json())
    return folder


def cut_short(path: Path) -> Path:
    """Half of a packed file, as an interrupted download leaves it."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def write_pairs(path: Path, n: int = 40, seed: int = 0) -> Path:
    """Pairs that can be learnt: query and passage share their first word."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        first, *rest = rng.permutation(WORDS)[:7].tolist()
        first = WORDS[i % len(WORDS)]
        rows.append({"query": f"{first} {rest[0]}", "text": " ".join([first, *rest[1:]])})
    return write_rows(path, rows)


def tiny_settings(folder: Path, **changes: Any) -> TrainSettings:
    """A run of a few steps over `folder/pairs.jsonl` from `folder/start` to `folder/out`."""
    file = PairFile(write_pairs(folder / "pairs.jsonl"), hard_negatives=1)
    start = save_tiny_model(folder / "start")
    plain: dict[str, Any] = {
        "start": start,
        "files": (file,),
        "out": folder / "out",
        "steps": 6,
        "batch_size": 8,
        "max_tokens": 16,
        "dev_every": 3,
        "checkpoint_every": 2,
        "dev_pairs": 4,
        "threads": 1,
        "lora_rank": 4,
    }
    return TrainSettings(**(plain | changes))


def pair_set(
    positives: Sequence[int],
    passages: int,
    query_keys: Sequence[int] | None = None,
    labels: Sequence[int] | None = None,
    passage_labels: Sequence[int] | None = None,
) -> PairSet:
    """Pairs by number alone; queries differ and have no label unless told."""
    n = len(positives)
    return PairSet(
        "made up",
        tuple(f"query {i}" for i in range(n)),
        tuple(PassageText("", f"passage {i}") for i in range(passages)),
        np.array(positives, np.int64),
        ((),) * n,
        np.array(range(n) if query_keys is None else query_keys, np.int64),
        np.array([NO_LABEL] * n if labels is None else labels, np.int64),
        np.array([NO_LABEL] * passages if passage_labels is None else passage_labels, np.int64),
    )


def source_of(
    pairs: PairSet,
    pool: Sequence[Sequence[int]] | None = None,
    hard_negatives: int = 0,
    dev: Sequence[int] = (),
    weight: float = 1.0,
) -> Source:
    """A source for tests of batches: neither texts nor vectors mean anything."""
    n, d = len(pairs), 4
    nothing: list[Int32] = []
    vectors: Float32 = np.zeros((n, d), np.float32)
    return Source(
        PairFile(Path("made up"), weight, hard_negatives),
        pairs,
        nothing,
        nothing,
        vectors,
        vectors,
        np.full((n, 1), NONE, np.int64) if pool is None else np.array(pool, np.int64),
        np.array([i for i in range(n) if i not in dev], np.int64),
        np.array(dev, np.int64),
    )
