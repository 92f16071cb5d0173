"""Low-rank updates of linear layers: W x + (alpha / r) B A x, with W frozen.

Hu et al. 2021, "LoRA: Low-rank adaptation of large language models", section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.bert import Block


class LoraLinear(nn.Module):
    """A frozen linear layer and its update, which is zero at first because B is."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.scale = alpha / rank
        self.A = nn.Parameter(torch.empty(rank, linear.in_features, device=linear.weight.device))
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank, device=linear.weight.device))
        nn.init.kaiming_uniform_(self.A, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y + F.linear(F.linear(x, self.A), self.B) * self.scale

    def merged(self) -> nn.Linear:
        """The linear layer with the update added to its weight."""
        with torch.no_grad():
            self.linear.weight += self.B @ self.A * self.scale
        return self.linear


def add_lora(blocks: Sequence[Block], rank: int) -> None:
    """Gives every linear layer of `blocks` an update of this rank."""
    for owner, name, linear in list(_linears(blocks)):
        setattr(owner, name, LoraLinear(linear, rank, alpha=2.0 * rank))


def merge_lora(model: nn.Module) -> None:
    """Puts plain linear layers with the updated weights back, in place."""
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, LoraLinear):
                setattr(owner, name, child.merged())


def _linears(blocks: Sequence[Block]) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for block in blocks:
        for owner in block.modules():
            for name, child in owner.named_children():
                if isinstance(child, nn.Linear):
                    yield owner, name, child
