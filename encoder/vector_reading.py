"""Reads embeddings back as texts, in numpy: the decoder of `encoder/vector_reader.py` with a cache.

Shapes: b vectors, e numbers of each, x prefix vectors, n new positions, p positions before, d width, m heads.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from core.errors import CheckpointError, EncoderMismatch, InvalidInput
from core.generation_types import FinishReason, Generated, VectorReaderInfo
from core.types import Float32, Int64
from encoder.checkpoint import WEIGHTS, in_float32, read_tensors, read_tokenizer, require_shapes
from encoder.config import read_public_config
from encoder.generator_config import END, PAD
from encoder.generator_tokenizer import GeneratorTokenizer
from encoder.parameters import Weights
from encoder.vector_reader_config import (
    PREFIX_WEIGHT,
    VectorReaderConfig,
    reader_from_json,
    reader_shapes,
)

NO_REPEAT: Final = 3  # no run of so many tokens is written twice: greedy texts are prone to loop
BATCH: Final = 64  # vectors read together

Cache = list[tuple[Float32, Float32]]  # of each block keys and values, (b, m, p, d/m)


class NumpyVectorReader:
    """Writes the most probable token, one after the other. Holds no state."""

    def __init__(self, config: VectorReaderConfig, weights: Weights, tokenizer: GeneratorTokenizer) -> None:
        self.config = config
        self._weights = weights
        self._tokenizer = tokenizer

    def read(self, vectors: Float32, max_new_tokens: int) -> list[Generated]:
        """One text a row of `vectors` (n, e), at most `max_new_tokens` and `config.max_tokens` long.

        Raises InvalidInput for fewer than one token, EncoderMismatch for vectors of another width.
        """
        if max_new_tokens < 1:
            raise InvalidInput(f"max_new_tokens is {max_new_tokens}; it must be at least 1.")
        if vectors.ndim != 2 or vectors.shape[1] != self.config.encoder_d:
            raise EncoderMismatch(
                f"{self.config.id} reads vectors of d={self.config.encoder_d}; found shape {vectors.shape}."
            )
        most = min(max_new_tokens, self.config.max_tokens)
        return [
            text
            for start in range(0, len(vectors), BATCH)
            for text in self._read(vectors[start : start + BATCH].astype(np.float32), most)
        ]

    def log_probabilities(self, vectors: Float32, token_ids: Int64) -> Float32:
        """(b, t + 1, V) of the first token, then of the one after each of `token_ids` (b, t), in one pass."""
        h = np.concatenate([self._prefix(vectors), self._embedding[token_ids]], axis=1)
        states = self._states(h, [])[:, self.config.prefix - 1 :]
        return _log_softmax(states @ self._embedding.T)

    def _read(self, vectors: Float32, most: int) -> list[Generated]:
        rows, cache = _Rows.of(len(vectors)), Cache()
        h = self._prefix(vectors)
        for _ in range(most):
            states = self._states(h, cache)[:, -1]  # (b, d)
            scores = _log_softmax(states @ self._embedding.T)  # (b, V)
            tokens = rows.choose(scores)
            if rows.is_ended.all():
                break
            h = self._embedding[tokens][:, None]
        return [rows.generated(row, self._tokenizer) for row in range(len(vectors))]

    @property
    def _embedding(self) -> Float32:
        return self._weights["decoder.embedding.weight"]  # (V, d)

    def _prefix(self, vectors: Float32) -> Float32:
        return (vectors @ self._weights[PREFIX_WEIGHT].T).reshape(len(vectors), self.config.prefix, -1)

    def _states(self, h: Float32, cache: Cache) -> Float32:
        """States (b, n, d) of new positions `h`; the cache, empty at first, grows by them."""
        shape = self.config.decoder
        past = cache[0][0].shape[2] if cache else 0
        rotation = _Rotation.of(shape.d // shape.heads, shape.rotary_base, past, h.shape[1])
        for i in range(shape.layers):
            block = f"decoder.blocks.{i}"
            x = self._normed(f"{block}.self_norm", h)
            q, k, v = (
                self._heads(x @ self._weights[f"{block}.self_attention.{part}.weight"].T)
                for part in ("query", "key", "value")
            )
            q, k = rotation.turned(q), rotation.turned(k)
            if past:
                k, v = np.concatenate([cache[i][0], k], axis=2), np.concatenate([cache[i][1], v], axis=2)
                cache[i] = (k, v)
            else:
                cache.append((k, v))
            h = h + _attended(q, k, v) @ self._weights[f"{block}.self_attention.output.weight"].T
            x = self._normed(f"{block}.feed_norm", h)
            up = _gelu(x @ self._weights[f"{block}.feed_forward.up.weight"].T)
            h = h + up @ self._weights[f"{block}.feed_forward.down.weight"].T
        return self._normed("decoder.norm", h)

    def _normed(self, name: str, x: Float32) -> Float32:
        """RMSNorm (Zhang and Sennrich 2019, equation 4)."""
        scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(self.config.decoder.norm_eps))
        return np.asarray(x / scale * self._weights[f"{name}.weight"], dtype=np.float32)

    def _heads(self, x: Float32) -> Float32:
        b, n, d = x.shape
        heads = self.config.decoder.heads
        return x.reshape(b, n, heads, d // heads).transpose(0, 2, 1, 3)  # (b, m, n, d/m)


@dataclass(frozen=True, slots=True, eq=False)
class _Rotation:
    """Rotary positions (Su et al. 2021, section 3.2) of n positions from p on."""

    cos: Float32
    sin: Float32

    @classmethod
    def of(cls, width: int, base: float, past: int, new: int) -> _Rotation:
        half = width // 2
        frequencies = base ** (-np.arange(half) / half)
        angles = np.arange(past, past + new)[:, None] * frequencies  # (n, half)
        return cls(np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32))

    def turned(self, x: Float32) -> Float32:
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * self.cos - b * self.sin, b * self.cos + a * self.sin], axis=-1)


@dataclass(slots=True)
class _Rows:
    """Texts in the making."""

    tokens: list[list[int]]
    totals: list[float]
    is_ended: npt.NDArray[np.bool_]
    seen: list[dict[tuple[int, ...], set[int]]] = field(default_factory=list)

    @classmethod
    def of(cls, count: int) -> _Rows:
        none = np.zeros(count, dtype=np.bool_)
        return cls([[] for _ in range(count)], [0.0] * count, none, [{} for _ in range(count)])

    def choose(self, scores: Float32) -> Int64:
        """The most probable token of each row (b, V) that repeats no run; padding where a row has ended."""
        chosen = np.full(len(scores), PAD, dtype=np.int64)
        for row, tokens in enumerate(self.tokens):
            if self.is_ended[row]:
                continue
            context = tuple(tokens[1 - NO_REPEAT :])
            scores[row, [PAD, *self.seen[row].get(context, ())]] = -np.inf
            token = int(scores[row].argmax())
            self.totals[row] += float(scores[row, token])
            if token == END:
                self.is_ended[row] = True
                continue
            if len(context) == NO_REPEAT - 1:
                self.seen[row].setdefault(context, set()).add(token)
            tokens.append(token)
            chosen[row] = token
        return chosen

    def generated(self, row: int, tokenizer: GeneratorTokenizer) -> Generated:
        tokens, is_ended = self.tokens[row], bool(self.is_ended[row])
        score = self.totals[row] / max(1, len(tokens) + is_ended)
        reason = FinishReason.STOP if is_ended else FinishReason.LENGTH
        return Generated(tokenizer.decode(tokens).strip(), score, reason, len(tokens))


def _attended(q: Float32, k: Float32, v: Float32) -> Float32:
    """(b, n, d): each of n new positions looks at itself and all before it."""
    scores = q @ k.swapaxes(2, 3) / np.float32(np.sqrt(q.shape[-1]))  # (b, m, n, p + n)
    n, total = scores.shape[2:]
    scores = np.where(np.tri(n, total, total - n, dtype=np.bool_), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ v  # (b, m, n, d/m)
    b, m, n, width = mixed.shape
    return np.asarray(mixed.transpose(0, 2, 1, 3).reshape(b, n, m * width), dtype=np.float32)


def _gelu(x: Float32) -> Float32:
    """x times the normal distribution function at x; erf by Abramowitz and Stegun 1964, 7.1.26 (1.5e-7)."""
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    powers = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    series = np.zeros_like(t)
    for factor in reversed(powers):
        series = (series + np.float32(factor)) * t
    erf = np.sign(x) * (1 - series * np.exp(-z * z))
    return np.asarray(x * (1 + erf) / 2, dtype=np.float32)


def _log_softmax(logits: Float32) -> Float32:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


class VectorReaderFolder:
    """core.ports.generation.VectorReader of a model folder, whose weights are loaded when it first reads."""

    def __init__(self, folder: Path) -> None:
        """Raises CheckpointError for missing or unsupported contents; damaged weights show when it reads."""
        if not folder.is_dir():
            raise CheckpointError(f"The model folder {folder} does not exist.")
        content = read_public_config(folder)
        self._folder = folder
        self._config = reader_from_json(content)
        tokenizer_json = read_tokenizer(folder)
        if not (folder / WEIGHTS).is_file():
            raise CheckpointError(f"{folder / WEIGHTS} is missing; a model folder needs it.")
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes())
        digest.update(json.dumps(content["decoder"], sort_keys=True).encode() + tokenizer_json.encode())
        config = self._config
        measured = (config.held_out_loss, config.shuffled_loss, config.similarity)
        self._info = VectorReaderInfo(
            config.id, digest.hexdigest(), config.encoder_fingerprint, config.max_tokens, *measured
        )
        self._lock = threading.Lock()
        self._reader: NumpyVectorReader | None = None

    @property
    def info(self) -> VectorReaderInfo:
        return self._info

    def read(self, vectors: Float32, max_new_tokens: int) -> list[Generated]:
        """As `NumpyVectorReader.read`."""
        return self.loaded().read(vectors, max_new_tokens)

    def loaded(self) -> NumpyVectorReader:
        """Raises CheckpointError."""
        with self._lock:
            if self._reader is None:
                self._reader = load_vector_reader(self._folder)
            return self._reader


def load_vector_reader(folder: Path) -> NumpyVectorReader:
    """Raises CheckpointError for missing, damaged or unsupported contents."""
    if not folder.is_dir():
        raise CheckpointError(f"The model folder {folder} does not exist.")
    config = reader_from_json(read_public_config(folder))
    weights = in_float32(read_tensors(folder))
    require_shapes(folder, reader_shapes(config), weights)
    return NumpyVectorReader(config, weights, GeneratorTokenizer(read_tokenizer(folder)))


def shipped_vector_reader() -> Path:
    """The folder of the reader that comes with this package, for the encoder that does."""
    return Path(__file__).parent / "weights" / "vector-reader"
