"""Texts with their vectors and tokens, in batches of equal length."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import InvalidInput
from core.ports.models import Encoder
from core.text_lines import read_lines
from core.types import Float16, Int32, Int64, PassageText
from encoder.generator_config import END, PAD
from encoder.generator_tokenizer import GeneratorTokenizer
from encoder.tokenizer import readable
from encoder.training.vector_reader_settings import VectorReaderSettings

VECTORS = "vectors.npy"
SLICE = 512  # texts encoded together
SORTED_BATCHES = 16  # so many are drawn together and sorted by length, so that little is padded


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """n texts: `vectors` (n, e) float16 and the tokens of each, the last of them END."""

    texts: tuple[str, ...]
    vectors: Float16
    tokens: tuple[Int32, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`vectors` (b, e) float32; `targets` (b, t) are padded with PAD."""

    vectors: Tensor
    targets: Tensor


def read_texts(files: Sequence[Path]) -> list[str]:
    """The distinct texts of JSONL files (also .gz), in order. Raises InvalidInput naming file and line."""
    found: dict[str, None] = {}
    for path in files:
        for number, line in read_lines(path):
            found[_text(path, number, line)] = None
    return [text for text in found if text]


def _text(path: Path, number: int, line: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str):
        raise InvalidInput(f'{path}, line {number}: expected {{"text": "…"}}.')
    return " ".join(readable([text])[0].split())


def split(texts: Sequence[str], settings: VectorReaderSettings) -> tuple[list[str], list[str]]:
    """Texts to train on, and those held out. Raises InvalidInput when too few are left."""
    order = np.random.default_rng(settings.seed).permutation(len(texts)).tolist()
    held, rest = order[: settings.dev_texts], order[settings.dev_texts :]
    if len(rest) < settings.batch_size:
        raise InvalidInput(
            f"{len(texts)} texts are too few: {settings.dev_texts} are held out and a batch takes"
            f" {settings.batch_size}."
        )
    return [texts[row] for row in rest], [texts[row] for row in held]


def embedded(texts: Sequence[str], encoder: Encoder, folder: Path) -> Float16:
    """(n, e) vectors of texts, kept in `folder` for a run that goes on."""
    key = hashlib.sha256(encoder.info.fingerprint.encode() + "\n".join(texts).encode()).hexdigest()
    path = folder / f"{key[:16]}-{VECTORS}"
    if path.is_file():
        return np.asarray(np.load(path), dtype=np.float16)
    passages = [PassageText("", text) for text in texts]
    vectors = np.concatenate(
        [
            encoder.encode_passages(passages[start : start + SLICE]).astype(np.float16)
            for start in range(0, len(passages), SLICE)
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{VECTORS}.new"
    with aside.open("wb") as file:
        np.save(file, vectors)
    os.replace(aside, path)
    return vectors


def tokenized(texts: Sequence[str], tokenizer: GeneratorTokenizer, max_tokens: int) -> dict[str, Int32]:
    """Of distinct texts those of at most `max_tokens` tokens, the end included, with their tokens.

    Raises InvalidInput when none is left.
    """
    tokens = [np.append(ids, np.int32(END)) for ids in tokenizer.encode(texts)]
    short = {text: ids for text, ids in zip(texts, tokens, strict=True) if len(ids) <= max_tokens}
    if not short:
        raise InvalidInput(
            f"Each of {len(texts)} texts is longer than max_tokens={max_tokens}, the shortest has"
            f" {min(map(len, tokens))} tokens with its end; give shorter texts or raise max_tokens."
        )
    return short


class Batches:
    """Batches of texts in an order fixed by the seed: the same step gives the same batch."""

    def __init__(self, texts: Texts, batch_size: int, seed: int, noise: float = 0.0) -> None:
        self._texts = texts
        self._size = batch_size
        self._seed = seed
        self._noise = noise
        self._lengths = np.array([len(ids) for ids in texts.tokens])
        self._epoch = -1
        self._rows: list[Int64] = []

    def __len__(self) -> int:
        """Batches an epoch."""
        return max(1, len(self._lengths) // self._size)

    def at(self, step: int) -> Batch:
        epoch, place = divmod(step, len(self))
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, self._draw(epoch)
        vectors, targets = self._tensors(self._rows[place])
        if self._noise:
            random = np.random.default_rng((self._seed, step))
            scale = np.float32(self._noise / np.sqrt(vectors.shape[1]))
            vectors = vectors + scale * random.standard_normal(vectors.shape, np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Batch(torch.from_numpy(vectors), torch.from_numpy(targets))

    def all(self) -> Iterator[Batch]:
        """Every text once, shortest first, as it is."""
        order = np.argsort(self._lengths, kind="stable")
        for start in range(0, len(order), self._size):
            vectors, targets = self._tensors(order[start : start + self._size])
            yield Batch(torch.from_numpy(vectors), torch.from_numpy(targets))

    def _draw(self, epoch: int) -> list[Int64]:
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._lengths))[: len(self) * self._size]
        batches: list[Int64] = []
        for start in range(0, len(order), SORTED_BATCHES * self._size):
            some = order[start : start + SORTED_BATCHES * self._size]
            some = some[np.argsort(self._lengths[some], kind="stable")]
            batches += [some[at : at + self._size] for at in range(0, len(some), self._size)]
        return [batches[i] for i in random.permutation(len(batches))]

    def _tensors(self, rows: Int64) -> tuple[np.ndarray, np.ndarray]:
        tokens = [self._texts.tokens[row] for row in rows.tolist()]
        targets = np.full((len(tokens), max(map(len, tokens))), PAD, dtype=np.int64)
        for place, ids in enumerate(tokens):
            targets[place, : len(ids)] = ids
        return self._texts.vectors[rows].astype(np.float32), targets
