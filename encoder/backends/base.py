"""The port of a backend. Shapes: b texts of t padded tokens, d dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.types import Float32

Int32 = npt.NDArray[np.int32]
# Token ids (b, t) and lengths (b,) to embeddings (b, d), as `Backend.forward` does it.
Forward = Callable[[Int32, Int32], Float32]


class Backend(Protocol):
    """Runs a model. One thread at a time may call its methods.

    Each of `bulk_streams` may be called by one thread at a time too, beside the methods and beside the other
    streams, and gives way to the methods. Without any, bulk work takes turns with the rest in `forward`.
    """

    needs_one_thread: bool  # whether that must always be the same thread, the engine's

    @property
    def bulk_streams(self) -> Sequence[Forward]: ...

    @property
    def bulk_states(self) -> Forward | None:
        """`states` as a bulk stream computes, by one thread at a time, beside all else; None without any."""
        ...

    def padded_length(self, tokens: int) -> int:
        """Length to which a batch whose longest text has `tokens` tokens should be padded."""
        ...

    def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
        """Embeddings (b, d) of `token_ids` (b, t), of which the first `lengths` (b,) of each row count."""
        ...

    def states(self, token_ids: Int32, lengths: Int32) -> Float32:
        """Hidden states of the last layer (b, t, d) float32; those of padding mean nothing."""
        ...
