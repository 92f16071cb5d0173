"""A file of pairs made ready: token ids, the start model's vectors, hard negatives, held-out pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InvalidInput
from core.types import Float32, Int64, Lane
from encoder.backends.base import Int32
from encoder.checkpoint import Checkpoint
from encoder.service import EncoderService
from encoder.tokenizer import Tokenizer
from encoder.training.mining import NONE, mine_negatives
from encoder.training.pairs import PairSet, read_pairs
from encoder.training.settings import PairFile, TrainSettings

_POOL_PER_NEGATIVE = 8  # a step draws its hard negatives from this many times as many
_MOST_DEV = 0.1  # of a file's pairs
_DEV_SEED = 4


@dataclass(frozen=True, slots=True)
class Source:
    """All of one file. Token ids and vectors go by pair for queries and by passage for passages.

    `pool` (n, k) int64 holds candidates for hard negatives, NONE past their end; `train` and `dev` are
    pair numbers.
    """

    file: PairFile
    pairs: PairSet
    query_ids: Sequence[Int32]
    passage_ids: Sequence[Int32]
    query_vectors: Float32
    passage_vectors: Float32
    pool: Int64
    train: Int64
    dev: Int64


def load_source(
    file: PairFile, settings: TrainSettings, start: Checkpoint, encoder: EncoderService
) -> Source:
    """Reads, tokenises and encodes a file with the start model, and mines its hard negatives."""
    pairs = read_pairs(file.path, file.max_pairs)
    tokenizer = Tokenizer(start.tokenizer_json, read_at_once(settings, start))
    query_vectors = encoder.encode_queries(pairs.queries, Lane.BULK)
    passage_vectors = encoder.encode_passages(pairs.passages)
    train, dev = _split(pairs, settings.dev_pairs, settings.seed)
    return Source(
        file,
        pairs,
        tokenizer.encode(pairs.queries, start.config.query_prompt),
        tokenizer.encode_passages(pairs.passages, start.config.passage_prompt),
        query_vectors,
        passage_vectors,
        _pool(file, pairs, query_vectors, passage_vectors, settings.max_false_negative),
        train,
        dev,
    )


def read_at_once(settings: TrainSettings, start: Checkpoint) -> int:
    """Tokens of the longest input that is trained on.

    Raises InvalidInput for more than one window of the start model.
    """
    window = start.config.window_tokens
    if window and settings.max_tokens > window:
        raise InvalidInput(
            f"max_tokens={settings.max_tokens}, but '{start.config.id}' reads longer inputs in windows of"
            f" {window} tokens, so no more are trained at once; give at most {window}."
        )
    return settings.max_tokens


def sample_passages(sources: Sequence[Source], count: int) -> list[str]:
    """Up to `count` passages with their titles, as many from each file, at even distances."""
    share = max(1, count // len(sources))
    sample = []
    for source in sources:
        passages = source.pairs.passages
        sample += [f"{p.title} {p.text}".strip() for p in passages[:: max(1, -(-len(passages) // share))]]
    return sample


def _pool(
    file: PairFile, pairs: PairSet, queries: Float32, passages: Float32, max_false_negative: float
) -> Int64:
    """Given negatives where a pair has them, else mined ones. One that is given although it answers the query
    is none."""
    size = file.hard_negatives * _POOL_PER_NEGATIVE
    if not size:
        return np.full((len(pairs), 0), NONE, np.int64)
    pool = mine_negatives(pairs, queries, passages, size, max_false_negative)
    answers = pairs.answers()
    for row, key, given in zip(pool, pairs.query_keys.tolist(), pairs.negatives, strict=True):
        if wrong := [passage for passage in given if passage not in answers[key]]:
            row[:] = NONE
            row[: len(wrong)] = wrong[:size]
    return pool


def _split(pairs: PairSet, dev_pairs: int, seed: int) -> tuple[Int64, Int64]:
    """Pairs to train on and pairs held out; of pairs that occur several times none is in both."""
    numbers = pairs.query_keys * len(pairs.passages) + pairs.positives  # (n,), equal where the pairs are
    _, first, same = np.unique(numbers, return_index=True, return_inverse=True)
    n = len(first)
    order = np.random.default_rng([seed, _DEV_SEED]).permutation(n)
    held_out = order[: min(dev_pairs, int(n * _MOST_DEV))]
    return np.flatnonzero(~np.isin(same, held_out)), np.sort(first[held_out])
