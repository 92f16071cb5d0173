"""A backend over packed batches; where they run is the executor's business (CUDA, or plain torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core.types import Float32
from encoder.backends.base import Forward, Int32
from encoder.config import ModelConfig
from encoder.packed import PackedBert
from encoder.packing import SMALL_TOKENS, PackedBatch, check_inputs, is_text, pack, unpad

_WARM_TOKENS = 64


Model = Callable[[Tensor, Tensor, int], Tensor]  # token ids (T,), starts (S + 1,), longest


class Pending(Protocol):
    """Vectors on their way."""

    def result(self) -> Float32:
        """Waits for the vectors (b, d), float32."""
        ...


class Executor(Protocol):
    """Runs packed batches in the order in which they were started."""

    def start(self, batch: PackedBatch) -> Pending:
        """Begins a batch; may return before it is done."""
        ...

    def states(self, batch: PackedBatch) -> Float32:
        """Hidden states of the last layer (T, d), float32, of all tokens that the batch computes."""
        ...


class PackedBackend:
    """Implements encoder.backends.base.Backend, and the same for texts that were never padded."""

    needs_one_thread = True  # graphs are captured on a stream of the thread
    bulk_streams: tuple[Forward, ...] = ()
    bulk_states: Forward | None = None

    def __init__(self, config: ModelConfig, executor: Executor, is_bucketed: bool = True) -> None:
        self._config = config
        self._executor = executor
        self._is_bucketed = is_bucketed

    def padded_length(self, tokens: int) -> int:
        return tokens

    def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self.forward_packed(unpad(token_ids, lengths), lengths)

    def forward_packed(self, token_ids: Int32, lengths: Int32) -> Float32:
        """Embeddings (b, d) of texts of `lengths` (b,), whose `token_ids` (T,) lie end to end.

        Raises InvalidInput for ids that the model does not know and for lengths it cannot read.
        """
        return self.start(token_ids, lengths).result()

    def start(self, token_ids: Int32, lengths: Int32) -> Pending:
        """`forward_packed` without waiting, so that the next batch can be prepared meanwhile."""
        check_inputs(self._config, token_ids, lengths)
        return self._executor.start(pack(token_ids, lengths, self._is_bucketed))

    def states(self, token_ids: Int32, lengths: Int32) -> Float32:
        flat = unpad(token_ids, lengths)
        check_inputs(self._config, flat, lengths)
        h = self._executor.states(pack(flat, lengths, self._is_bucketed))  # (T, d)
        padded = np.zeros((*token_ids.shape, self._config.d), np.float32)
        padded[is_text(token_ids, lengths)] = h[: len(flat)]
        return padded

    def warm_up(self) -> None:
        """Runs texts as short as queries and one large batch, so that no caller waits for a compiler."""
        longest = min(_WARM_TOKENS, self._config.max_positions)
        texts = SMALL_TOKENS // longest + 1
        for lengths in [texts * [longest], *([tokens] for tokens in range(1, longest + 1))]:
            self.forward_packed(np.zeros(sum(lengths), np.int32), np.array(lengths, np.int32))


class PlainExecutor:
    """Plain torch on any device in any precision, one batch at a time: the reference of the packed path."""

    def __init__(self, model: PackedBert, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self._device = torch.device(device)
        self._model = model.to(self._device, dtype)

    def start(self, batch: PackedBatch) -> Pending:
        return _Ready(self._run(self._model, batch)[: batch.texts])

    def states(self, batch: PackedBatch) -> Float32:
        return self._run(self._model.states, batch)

    def _run(self, function: Model, batch: PackedBatch) -> Float32:
        buffer = torch.from_numpy(batch.buffer).to(self._device)
        with torch.inference_mode():
            found = function(*split_buffer(buffer, batch.shape.tokens), batch.shape.longest)
        array: Float32 = found.float().cpu().numpy()
        return array


class _Ready:
    def __init__(self, vectors: Float32) -> None:
        self._vectors = vectors

    def result(self) -> Float32:
        return self._vectors


def split_buffer(buffer: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Token ids (T,) and segment starts (S + 1,) of the buffer of a batch, as views."""
    return buffer[:tokens], buffer[tokens:]
