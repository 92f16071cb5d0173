"""The in-house generator on a GPU: arrays of fixed shapes, so that a step is one CUDA graph.

Shapes: r rows that the arrays have room for, of which the first few are in use; t tokens that the cache has
room for, s source tokens, d width, m heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.types import Float32, Int32, Int64
from encoder.backends.openvino_generator import SourceStates, padded
from encoder.decoder import Block, KeyValues
from encoder.encoder_decoder import EncoderDecoder, Memory, SourceBatch
from encoder.generator_config import DecoderConfig

_WARM_UPS = 3  # before a graph is captured, as torch asks for


@dataclass(frozen=True, slots=True)
class Room:
    """What the arrays have room for; `source_tokens` is with the task's."""

    rows: int
    max_tokens: int
    source_tokens: int


class StaticSteps:
    """Implements encoder.generation.steps.StepModel for as much as there is `room` for.

    Rows that are over are computed on, so the arrays keep their shapes; on a GPU the step is captured as a
    CUDA graph at the first call. Without a GPU the same step runs as it is. `read` begins a generation.
    """

    def __init__(self, model: EncoderDecoder, room: Room) -> None:
        self._model = model.eval()
        self._room = room
        embedding = model.decoder.embedding.weight
        self._device, self._type = embedding.device, embedding.dtype
        shape = model.config.decoder
        cache = (room.rows, shape.heads, room.max_tokens, shape.d // shape.heads)
        self._cache = [
            KeyValues(*(torch.zeros(cache, dtype=self._type, device=self._device) for _ in range(2)))
            for _ in range(shape.layers)
        ]
        self._cos, self._sin = _angles(shape, room.max_tokens, self._device)  # (t, d/2m)
        self._position = torch.zeros(1, dtype=torch.long, device=self._device)
        self._tokens = torch.zeros(room.rows, dtype=torch.long, device=self._device)
        self._sources = np.empty(0, np.int64)  # of the rows in use
        self._memory: Memory | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._log_probs = torch.empty(0)

    @torch.inference_mode()
    def read(self, sources: Sequence[SourceStates]) -> None:
        """Goes on with these sources, one row each, nothing decoded yet."""
        ids, states = padded(sources, self._model.config.encoder_d, self._room.source_tokens)
        rows = np.zeros(self._room.rows, np.int64)
        rows[: len(sources)] = np.arange(len(sources))
        batch = SourceBatch(
            torch.as_tensor(ids[rows], device=self._device).long(),
            torch.as_tensor(states[rows], device=self._device, dtype=self._type),
        )
        memory = self._model.read(batch)
        if self._memory is None:
            self._memory = memory
        else:  # a captured graph knows the places
            for mine, new in zip(_arrays(self._memory), _arrays(memory), strict=True):
                mine.copy_(new)
        self._position.zero_()
        self._sources = np.arange(len(sources))

    @property
    def _read_memory(self) -> Memory:
        assert self._memory is not None, "`read` comes first"
        return self._memory

    @property
    def vocab_size(self) -> int:
        return self._model.config.decoder.vocab_size

    @torch.inference_mode()
    def step(self, tokens: Int32) -> Float32:
        used = len(tokens)
        self._tokens[:used] = torch.as_tensor(tokens, device=self._device)
        if self._device.type != "cuda":
            self._log_probs = self._compute()
        elif self._graph is None:
            self._graph = self._captured()
        if self._graph is not None:
            self._graph.replay()
        self._position += 1
        found: Float32 = self._log_probs[:used].cpu().numpy()
        return found

    @torch.inference_mode()
    def reorder(self, rows: Int64) -> None:
        order = np.zeros(len(self._tokens), np.int64)  # rows out of use hold what row 0 holds
        order[: len(rows)] = rows
        index = torch.as_tensor(order, device=self._device)
        for kv in self._cache:
            for array in kv:
                array.copy_(array.index_select(0, index))
        sources = self._sources[rows]
        if not np.array_equal(sources, self._sources):
            for array in _arrays(self._read_memory):
                array.copy_(array.index_select(0, index))
        self._sources = sources

    def _captured(self) -> torch.cuda.CUDAGraph:
        """The step as a graph that fills `_log_probs`; it writes again what warming up wrote to the cache."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types here
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._compute()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._log_probs = self._compute()
        return graph

    def _compute(self) -> Tensor:
        """Log probabilities (r, V) after `_tokens` at `_position`."""
        decoder, memory = self._model.decoder, self._read_memory
        cos, sin = (table.index_select(0, self._position) for table in (self._cos, self._sin))  # (1, d/2m)
        is_past = torch.arange(len(self._cos), device=self._device) <= self._position  # (t,)
        h = decoder.embedding(self._tokens)[:, None]  # (r, 1, d)
        for block, cache, source in zip(decoder.blocks, self._cache, memory.source.by_block, strict=True):
            assert isinstance(block, Block)
            h = self._block(block, h, cache, (cos, sin, is_past), source)
        return self._model.next_log_probs(decoder.norm(h), memory)

    def _block(
        self,
        block: Block,
        h: Tensor,
        cache: KeyValues,
        place: tuple[Tensor, Tensor, Tensor],
        source: KeyValues,
    ) -> Tensor:
        cos, sin, is_past = place
        x = block.self_norm(h)
        new = block.self_attention.keys_values(x)
        cache.keys.index_copy_(2, self._position, _rotated(new.keys, cos, sin))
        cache.values.index_copy_(2, self._position, new.values)
        q = _rotated(block.self_attention.queries(x), cos, sin)
        h = h + block.self_attention.attend(q, cache, is_past)
        assert block.cross_attention is not None
        q = block.cross_attention.queries(block.cross_norm(h))
        h = h + block.cross_attention.attend(q, source, self._read_memory.source.is_text)
        fed: Tensor = h + block.feed_forward(block.feed_norm(h))
        return fed


def _angles(shape: DecoderConfig, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    half = shape.d // shape.heads // 2
    frequencies = shape.rotary_base ** (-torch.arange(half, device=device) / half)
    angles = torch.arange(tokens, device=device)[:, None] * frequencies
    return angles.cos(), angles.sin()


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def _arrays(memory: Memory) -> list[Tensor]:
    """All that has rows."""
    of_blocks = [array for kv in memory.source.by_block for array in kv]
    return [memory.token_ids, memory.states, memory.copy_keys, memory.source.is_text, *of_blocks]
