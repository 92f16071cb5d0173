"""The least work an encoder's forward pass needs, counted, and the least time a GPU can need for it.

A multiplication and an addition are 2 FLOPs; norms, softmax and activations are not counted (under 1 %).
Peaks are the vendors' published ones for dense bf16 without sparsity, and for memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from encoder.config import ModelConfig, Pooling

_BF16_BYTES = 2
_F32_BYTES = 4


@dataclass(frozen=True)
class Peak:
    """What a GPU can do: dense bf16 TFLOP/s, and terabytes a second of its memory."""

    tflops: float
    terabytes_per_s: float


# By a part of the device's name; the first that fits counts. A name without more is the SXM part.
PEAKS = {
    "H200 NVL": Peak(835.5, 4.8),
    "H200": Peak(989.4, 4.8),
    "H100 PCIe": Peak(756.5, 2.0),
    "H100 NVL": Peak(835.5, 3.94),
    "H100": Peak(989.4, 3.35),
    "A100-PCIE-40GB": Peak(312.0, 1.555),
    "A100-SXM4-40GB": Peak(312.0, 1.555),
    "A100-PCIE-80GB": Peak(312.0, 1.935),
    "A100 80GB PCIe": Peak(312.0, 1.935),
    "A100": Peak(312.0, 2.039),
}


def peak_of(device_name: str) -> Peak | None:
    """None for a device that is not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in device_name), None)


def forward_flops(config: ModelConfig, lengths: Sequence[int]) -> int:
    """FLOPs of the formula for texts of `lengths` tokens, no padding."""
    tokens, pairs = sum(lengths), sum(n * n for n in lengths)
    d, f = config.d, config.intermediate
    linear = 2 * (4 * d * d + 2 * d * f) * tokens  # query, key, value, output; up and down
    attention = 2 * 2 * d * pairs  # q k^T, and its product with v
    return config.layers * (linear + attention) + _pooling_flops(config, tokens, len(lengths))


def forward_bytes(config: ModelConfig, lengths: Sequence[int], batches: int) -> int:
    """Bytes between memory and chip when every matrix product, attention and fused pointwise step reads its
    inputs and writes its output once in bf16, and weights are read once in each of `batches` forward passes.

    It is the traffic of this way of cutting the model into kernels; fusing more of them would need less.
    """
    tokens, d, f = sum(lengths), config.d, config.intermediate
    qkv, attention, output = d + 3 * d, 3 * d + d, 2 * d
    feed_forward = (d + f) + (f + f) + (f + d)  # up, activation, down
    norms = 2 * (2 * d + d)  # each with the addition of the skip connection
    layers = config.layers * (qkv + attention + output + feed_forward + norms)
    embed = 2 * d + d  # a row of words, one of positions; the sum, normed
    per_token = _BF16_BYTES * (layers + embed + d) + _F32_BYTES  # pooling reads the states; an id of int32
    weights = _BF16_BYTES * config.layers * (4 * d * d + 2 * d * f)
    return tokens * per_token + batches * weights + len(lengths) * d * _F32_BYTES


def _pooling_flops(config: ModelConfig, tokens: int, texts: int) -> int:
    """Class attention with its query folded through W_k, and W_v and W_o applied to sums, not to tokens."""
    d = config.d
    if config.pooling is Pooling.CLS:
        return 0
    if config.pooling is Pooling.MEAN:
        return d * tokens
    return 2 * (2 * d * config.pooling_heads) * tokens + 2 * (2 * d * d) * texts


@dataclass(frozen=True)
class Floor:
    """Seconds that the counted work takes at the peaks."""

    compute_s: float
    memory_s: float

    @property
    def seconds(self) -> float:
        return max(self.compute_s, self.memory_s)


def floor_of(config: ModelConfig, lengths: Sequence[int], batches: int, peak: Peak) -> Floor:
    """The least time for texts of `lengths` in `batches` forward passes."""
    return Floor(
        forward_flops(config, lengths) / (peak.tflops * 1e12),
        forward_bytes(config, lengths, batches) / (peak.terabytes_per_s * 1e12),
    )
