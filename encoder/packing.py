"""Texts laid end to end without padding, in one array of few shapes. No torch here.

Shapes: b texts, T tokens, S segments. Shapes are rounded up, so that few occur and each can be captured once:
the tokens added form one more segment, and segments after it are empty. Both are computed and thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from encoder.backends.base import Int32
from encoder.config import ModelConfig

SMALL_TOKENS = 4096  # below it steps grow with T, because small batches cost launches and not tokens
_STEPS_AN_OCTAVE = 4
_MIN_STEP = 16
_LARGE_STEP = 64
_MIN_LONGEST = 64


@dataclass(frozen=True, slots=True)
class PackedShape:
    """`tokens` T and `segments` S after rounding; no segment is longer than `longest`."""

    tokens: int
    segments: int
    longest: int

    @property
    def is_small(self) -> bool:
        return self.tokens <= SMALL_TOKENS


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """`buffer` (T + S + 1,) int32 holds the token ids (T,), then where each segment starts (S + 1,).

    It is one array so that one copy takes it to a device. The first `texts` segments are the texts.
    """

    buffer: Int32
    texts: int
    shape: PackedShape


def unpad(token_ids: Int32, lengths: Int32) -> Int32:
    """Ids (T,) of the rows of `token_ids` (b, t) end to end, the first `lengths` (b,) of each."""
    flat: Int32 = token_ids[is_text(token_ids, lengths)]
    return flat


def is_text(token_ids: Int32, lengths: Int32) -> npt.NDArray[np.bool_]:
    """(b, t), False at padding."""
    return np.arange(token_ids.shape[1]) < lengths[:, None]


def pack(token_ids: Int32, lengths: Int32, is_bucketed: bool = True) -> PackedBatch:
    """Batch of `token_ids` (T,), texts of `lengths` (b,) end to end; its shape is exact unless bucketed."""
    tokens, texts, longest = len(token_ids), len(lengths), int(lengths.max())
    shape = bucket(tokens, texts, longest) if is_bucketed else PackedShape(tokens, texts, longest)
    buffer = np.zeros(shape.tokens + shape.segments + 1, np.int32)
    buffer[:tokens] = token_ids
    starts = buffer[shape.tokens :]  # (S + 1,)
    np.cumsum(lengths, out=starts[1 : texts + 1])
    starts[texts + 1 :] = shape.tokens
    return PackedBatch(buffer, texts, shape)


def bucket(tokens: int, texts: int, longest: int) -> PackedShape:
    """The shape that holds a batch, with room for the segment of added tokens."""
    is_small = tokens <= SMALL_TOKENS
    step = max(_MIN_STEP, _power_of_two(tokens) // (2 * _STEPS_AN_OCTAVE)) if is_small else _LARGE_STEP
    rounded = _round_up(tokens, step)
    segments = _power_of_two(texts + 1) if is_small else _round_up(texts + 1, _LARGE_STEP)
    return PackedShape(rounded, segments, _power_of_two(max(longest, rounded - tokens, _MIN_LONGEST)))


def check_inputs(config: ModelConfig, token_ids: Int32, lengths: Int32) -> None:
    """Raises InvalidInput for ids and lengths out of range, after which a GPU would fail every later call."""
    if len(lengths) == 0 or lengths.min() < 1 or lengths.max() > config.max_positions:
        raise InvalidInput(
            f"A batch needs texts of 1 to {config.max_positions} tokens; these have {lengths.tolist()[:8]}."
        )
    if len(token_ids) != lengths.sum():
        raise InvalidInput(f"{len(token_ids)} token ids came for texts of {lengths.sum()} tokens.")
    if token_ids.min() < 0 or token_ids.max() >= config.vocab_size:
        raise InvalidInput(
            f"Token ids run from {token_ids.min()} to {token_ids.max()}; "
            f"model '{config.id}' knows 0 to {config.vocab_size - 1}."
        )


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def _power_of_two(n: int) -> int:
    """The least power of two that is >= n >= 1."""
    return 1 << (n - 1).bit_length()
