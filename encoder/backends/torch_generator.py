"""Models in torch as step models: the reference of the generator, and public checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from core.types import Float32, Int32, Int64
from encoder.backends.openvino_generator import SourceStates, padded
from encoder.decoder import KeyValues
from encoder.encoder_decoder import EncoderDecoder, Memory, SourceBatch

State = TypeVar("State")
# Tokens (r, 1) and what was computed before, to logarithms of probabilities (r, V) and what was computed.
Advance = Callable[[Tensor, State], tuple[Tensor, State]]


class TorchSteps(Generic[State]):
    """Implements encoder.generation.steps.StepModel over a function and its state.

    The state is made of tensors with rows on their first axis, None, and tuples and dataclasses of these; at
    first of one row a source.
    """

    def __init__(self, advance: Advance[State], state: State, vocab_size: int, device: str = "cpu") -> None:
        self._advance = advance
        self._state = state
        self._vocab_size = vocab_size
        self._device = device

    @property
    def vocab_size(self) -> int:
        return self._vocab_size

    @torch.inference_mode()
    def step(self, tokens: Int32) -> Float32:
        ids = torch.as_tensor(tokens, dtype=torch.long, device=self._device)[:, None]  # (r, 1)
        log_probs, self._state = self._advance(ids, self._state)
        found: Float32 = log_probs.float().cpu().numpy()
        return found

    @torch.inference_mode()
    def reorder(self, rows: Int64) -> None:
        self._state = _taken(self._state, torch.as_tensor(rows, device=self._device))


def read_sources(
    model: EncoderDecoder, sources: Sequence[SourceStates], device: str = "cpu"
) -> TorchSteps[tuple[Memory, tuple[KeyValues, ...] | None]]:
    """The in-house generator as a step model of these sources."""
    ids, states = padded(sources, model.config.encoder_d)
    batch = SourceBatch(torch.as_tensor(ids, device=device).long(), torch.as_tensor(states, device=device))
    with torch.inference_mode():
        memory = model.eval().read(batch)

    def advance(
        tokens: Tensor, state: tuple[Memory, tuple[KeyValues, ...] | None]
    ) -> tuple[Tensor, tuple[Memory, tuple[KeyValues, ...] | None]]:
        log_probs, past = model.step(state[0], tokens, state[1])
        return log_probs, (state[0], past)

    return TorchSteps(advance, (memory, None), model.config.decoder.vocab_size, device)


def _taken(state: Any, rows: Tensor) -> Any:
    """`state` with these rows of every tensor in it."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.index_select(0, rows)
    if is_dataclass(state) and not isinstance(state, type):
        return replace(state, **{f.name: _taken(getattr(state, f.name), rows) for f in fields(state)})
    parts = [_taken(part, rows) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
