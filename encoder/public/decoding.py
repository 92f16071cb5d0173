"""What a public model keeps between steps, and what every one of them can do.

Shapes: b texts, t new tokens, p tokens before, s source tokens, d width, m heads, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from encoder.decoder import KeyValues, Source


@dataclass(frozen=True, slots=True)
class Decoding:
    """Texts in the making: the cache of every block, the source that was read, which past tokens are text.

    `is_text` (b, p) is None where all are.
    """

    past: tuple[KeyValues, ...] = ()
    source: Source | None = None
    is_text: Tensor | None = None

    @property
    def tokens(self) -> int:
        """p, padding counted."""
        return self.past[0].keys.shape[2] if self.past else 0

    def past_of(self, block: int) -> KeyValues | None:
        return self.past[block] if self.past else None

    def cross_of(self, block: int) -> tuple[KeyValues, Tensor]:
        """What the cross-attention of a block reads, and where it is text."""
        assert self.source is not None, "nothing has been read"
        return self.source.by_block[block], self.source.is_text


class PublicModel(Protocol):
    """A model of one of the families, in evaluation mode."""

    def to(self, device: torch.device) -> Any: ...

    def read(self, token_ids: Tensor, is_text: Tensor) -> Decoding:
        """What decoding needs of sources or prompts (b, s); `is_text` is False at padding.

        Sources are padded behind. A model without an encoder reads prompts, padded before.
        """
        ...

    def __call__(self, token_ids: Tensor, decoding: Decoding) -> tuple[Tensor, Decoding]:
        """Logits (b, t, V) of what follows each of `token_ids` (b, t), and the state after them."""
        ...
