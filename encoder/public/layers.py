"""Layers that more than one public family has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import CheckpointError

_TANH_GELU = partial(F.gelu, approximate="tanh")
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": _TANH_GELU,
    "gelu_pytorch_tanh": _TANH_GELU,
    "silu": F.silu,
    "swish": F.silu,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """By its public name. Raises CheckpointError that lists the known ones."""
    if name not in _ACTIVATIONS:
        raise CheckpointError(f"The activation {name!r} is not supported; known: {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[name]


class FeedForward(nn.Module):
    """`W_down act(W_up x)` with biases; f wide inside."""

    def __init__(self, d: int, f: int, activation_name: str) -> None:
        super().__init__()
        self.up = nn.Linear(d, f)
        self.down = nn.Linear(f, d)
        self.activate = activation(activation_name)

    def forward(self, x: Tensor) -> Tensor:
        fed: Tensor = self.down(self.activate(self.up(x)))  # (b, t, d)
        return fed
