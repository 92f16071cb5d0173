"""Training in bfloat16, where the chip has it."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from functools import cache

import openvino as ov
import torch

log = logging.getLogger(__name__)


def bfloat16(device: str, is_wanted: bool) -> AbstractContextManager[None]:
    """Matrix products in bfloat16 if that is wanted and `device` ("cpu" or "cuda") computes in it.

    A CPU without such instructions emulates them, fifty times slower than float32, and an older GPU emulates
    or refuses them: there products stay in float32, and the log says so once.
    """
    return torch.autocast(device, torch.bfloat16, enabled=is_wanted and _computes_or_tells(device))


def computes_bfloat16(device: str) -> bool:
    """Whether the chip has instructions for it."""
    if device == "cpu":
        return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@cache
def _computes_or_tells(device: str) -> bool:
    if computes_bfloat16(device):
        return True
    log.warning("This %s has no bfloat16 instructions: training stays in float32", device.upper())
    return False
