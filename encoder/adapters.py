"""Adapters: small arrays that change some weights of an encoder, added to them without torch.

The update of a weight W (o, i) is `B A` with A (r, i) and B (o, r) (Hu et al. 2021, "LoRA: Low-rank
adaptation of large language models", section 4.1; their scale alpha / r is in B). The class-attention query
gets a plain difference. Beside them are the ranges that int8 needs of the changed model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from core.errors import InvalidInput
from core.ports.classifiers import Arrays
from core.types import EncoderInfo, Float32
from encoder.checkpoint import Checkpoint
from encoder.int8 import ChannelRange, Ranges
from encoder.parameters import Weights

DOWN, UP, DIFFERENCE = ".lora_a", ".lora_b", ".difference"
_INT8 = "int8/"
_LOW, _HIGH = ".low", ".high"


def merge(weights: Weights, adapters: Arrays) -> dict[str, Float32]:
    """All weights, those that the adapters name changed; the others are the same arrays.

    Raises InvalidInput for adapters of another shape of model.
    """
    merged = dict(weights)
    for name, update in _updates(adapters):
        if name not in weights or weights[name].shape != update.shape:
            found = weights[name].shape if name in weights else "none"
            raise InvalidInput(
                f"The adapters change '{name}' {update.shape}, the encoder's is {found}; they belong to"
                " another encoder. Train the classifier again."
            )
        merged[name] = weights[name] + update
    return merged


def adapted_info(base: EncoderInfo, adapters: Arrays) -> EncoderInfo:
    """What the encoder with these adapters is: vectors of different adapters never meet."""
    digest = hashlib.sha256(base.fingerprint.encode())
    for name in sorted(adapters):
        if not name.startswith(_INT8):  # the fingerprint does not name the precision
            array = np.ascontiguousarray(adapters[name])
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    return replace(base, id=f"{base.id}-tuned", fingerprint=digest.hexdigest())


def adapted_checkpoint(base: Checkpoint, adapters: Arrays, info: EncoderInfo) -> Checkpoint:
    """The base with the adapters added to its weights; `info` is what `adapted_info` says."""
    return replace(
        base,
        config=replace(base.config, id=info.id),
        weights=merge(base.weights, adapters),
        fingerprint=info.fingerprint,
        weights_sha256=info.fingerprint,
    )


def ranges_to_arrays(ranges: Ranges) -> dict[str, Float32]:
    """Ranges as arrays that travel with the adapters."""
    return {
        f"{_INT8}{name}{end}": bound
        for name, seen in ranges.items()
        for end, bound in ((_LOW, seen.low), (_HIGH, seen.high))
    }


def ranges_of(adapters: Arrays) -> dict[str, ChannelRange]:
    """What `ranges_to_arrays` wrote; empty for adapters that carry none."""
    names = {
        name[len(_INT8) : -len(_LOW)] for name in adapters if name.startswith(_INT8) and name.endswith(_LOW)
    }
    return {
        name: ChannelRange(
            adapters[f"{_INT8}{name}{_LOW}"].astype(np.float32),
            adapters[f"{_INT8}{name}{_HIGH}"].astype(np.float32),
        )
        for name in names
    }


def _updates(adapters: Arrays) -> Iterator[tuple[str, Float32]]:
    """Name of a weight and what is added to it."""
    for name, array in adapters.items():
        if name.endswith(DOWN):
            weight = name.removesuffix(DOWN)
            yield weight, adapters[weight + UP].astype(np.float32) @ array.astype(np.float32)
        elif name.endswith(DIFFERENCE):
            yield name.removesuffix(DIFFERENCE), array.astype(np.float32)
