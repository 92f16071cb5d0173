"""Int8 matrix products: ranges of their inputs, kept in the model folder, and the weights cut to fit them.

A few channels of a transformer's states are ten times as large as the others; one scale for all would leave
the others few of the 256 steps. Those channels are divided before rounding and their weight columns are
multiplied instead (Xiao et al. 2023, "SmoothQuant", section 4), which changes nothing but the rounding.
Shapes: i inputs and o outputs of a product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from core.errors import CheckpointError
from core.types import Float32

RANGES = "int8.safetensors"
_WEIGHTS_KEY = "weights_sha256"
_STEPS = 255
_WEIGHT_STEPS = 127


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """The least and the greatest value that each input (i,) of a matrix product took."""

    low: Float32
    high: Float32

    def widened(self, x: Float32) -> ChannelRange:
        """The range that also holds the rows of `x` (n, i)."""
        return ChannelRange(np.minimum(self.low, x.min(0)), np.maximum(self.high, x.max(0)))


Ranges = Mapping[str, ChannelRange]  # by the name of the matrix product


@dataclass(frozen=True, slots=True)
class QuantizedProduct:
    """`x W^T` as `round(x * input_scale) (weight * weight_scale)^T`, rounded to 256 steps of [low, high]."""

    input_scale: Float32  # (i,)
    low: np.float32
    high: np.float32
    weight: npt.NDArray[np.int8]  # (o, i)
    weight_scale: Float32  # (o, 1)


def quantize_product(w: Float32, seen: ChannelRange) -> QuantizedProduct:
    """Quantises the weights `w` (o, i) of a product whose inputs lie in `seen`."""
    divisor = _outlier_divisor(seen)
    low, high = _with_exact_zero(
        float((seen.low / divisor).min(initial=0)), float((seen.high / divisor).max(initial=0))
    )
    w = w * divisor
    scale = np.maximum(np.abs(w).max(1, keepdims=True), np.finfo(np.float32).tiny) / np.float32(_WEIGHT_STEPS)
    return QuantizedProduct(
        input_scale=np.reciprocal(divisor),
        low=np.float32(low),
        high=np.float32(high),
        weight=np.rint(w / scale).astype(np.int8),
        weight_scale=scale,
    )


def _outlier_divisor(seen: ChannelRange) -> Float32:
    """What brings each channel (i,) that is larger than the median one down to it; 1 for the others."""
    size = np.maximum(-seen.low, seen.high)
    divisor: Float32 = np.maximum(size / max(float(np.median(size)), 1e-6), 1).astype(np.float32)
    return divisor


def _with_exact_zero(low: float, high: float) -> tuple[float, float]:
    """The range moved by less than a step so that 0 is one of its 256 values."""
    step = max(high - low, 1e-6) / _STEPS
    zero = round(-low / step)
    return -zero * step, (_STEPS - zero) * step


def save_ranges(folder: Path, ranges: Ranges, weights_sha256: str) -> None:
    """Writes `int8.safetensors`, bound to the weights it was measured with."""
    tensors = {f"{name}.{end}": getattr(r, end) for name, r in ranges.items() for end in ("low", "high")}
    save_file(tensors, folder / RANGES, {_WEIGHTS_KEY: weights_sha256})


def load_ranges(folder: Path, weights_sha256: str) -> dict[str, ChannelRange]:
    """What `save_ranges` wrote. Raises CheckpointError when it is missing, damaged, or of other weights."""
    path = folder / RANGES
    advice = f"run 'python -m encoder.calibrate {folder}' or choose the precision bf16"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing, which int8 needs; {advice}.")
    try:
        with safe_open(path, "np") as file:
            measured_with = (file.metadata() or {}).get(_WEIGHTS_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        names = {name.rpartition(".")[0] for name in tensors}
        ranges = {name: ChannelRange(tensors[f"{name}.low"], tensors[f"{name}.high"]) for name in names}
    except (SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); {advice}.") from error
    if measured_with != weights_sha256:
        raise CheckpointError(
            f"{path} was measured with weights {str(measured_with)[:12]}, the folder holds "
            f"{weights_sha256[:12]}; {advice}."
        )
    return ranges
