"""The GPU backend: bf16, packed, variable-length flash attention, compiled, small batches as CUDA graphs.

Importable everywhere; `cuda_backend` refuses where it cannot run. Memory comes from torch's own allocator.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from core.errors import CheckpointError, StartRefused
from core.types import Float32
from encoder.backends.packed_backend import Model, PackedBackend, Pending, split_buffer
from encoder.config import ModelConfig
from encoder.engine import EngineSettings
from encoder.packed import PackedBert, packed_from_weights
from encoder.packing import PackedBatch, PackedShape
from encoder.parameters import Weights

_log = logging.getLogger(__name__)

Replay = Callable[[], None]
Capture = Callable[[Callable[[], Tensor]], tuple[Tensor, Replay]]

# A GPU is idle at the CPU's sizes: 32k tokens are about 0.7 TFLOP of the shipped model.
CUDA_ENGINE_SETTINGS = EngineSettings(
    interactive_batch_tokens=4096,
    bulk_batch_tokens=32768,
    bulk_batch_tokens_busy=8192,
    bulk_window_tokens=262144,
    max_waiting_interactive_tokens=524288,
    max_waiting_bulk_tokens=2097152,
)
MAX_GRAPHS = 128
_MIN_CAPABILITY = (8, 0)
_HEAD_MULTIPLE = 8
_MAX_HEAD = 256
_ADVICE = "Choose the backend 'openvino' (CPU)"


def cuda_backend(config: ModelConfig, weights: Weights, max_autotune: bool = False) -> PackedBackend:
    """A warmed-up backend on the current CUDA device.

    `max_autotune` lets the compiler time its own matrix products against the library's; it starts slower.
    Raises StartRefused when there is no GPU that computes bf16, CheckpointError when the attention kernel
    does not take the model's heads.
    """
    require_cuda()
    require_flash_heads(config)
    # A GPU outruns the tokenizer on one core, and here the cores are free. Before a Tokenizer says otherwise.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # It logs a line a call, that is one a layer and batch.
    logging.getLogger("torch.nn.attention.varlen").setLevel(logging.WARNING)
    backend = PackedBackend(config, CudaExecutor(packed_from_weights(config, weights), max_autotune))
    backend.warm_up()
    return backend


def require_cuda() -> None:
    """Raises StartRefused, with what to do, unless torch finds a GPU with bf16 and flash attention."""
    if not torch.cuda.is_available():
        raise StartRefused(
            f"The backend 'cuda' needs an NVIDIA GPU; torch {torch.__version__} (CUDA: "
            f"{torch.version.cuda or 'no'}) finds none. {_ADVICE}, or install a driver and torch for CUDA."
        )
    capability = torch.cuda.get_device_capability()
    if capability < _MIN_CAPABILITY:
        raise StartRefused(
            f"The backend 'cuda' computes in bf16 with flash attention, which needs compute capability 8.0 "
            f"or higher; '{torch.cuda.get_device_name()}' has {capability[0]}.{capability[1]}. {_ADVICE}, or "
            f"'torch', which runs on this GPU in float32."
        )


def require_flash_heads(config: ModelConfig) -> None:
    """Raises CheckpointError for heads of a width that variable-length flash attention does not take."""
    width = config.d // config.heads
    if width % _HEAD_MULTIPLE or width > _MAX_HEAD:
        raise CheckpointError(
            f"Model '{config.id}' has heads of width {width}; the backend 'cuda' takes multiples of "
            f"{_HEAD_MULTIPLE} up to {_MAX_HEAD}. {_ADVICE}, or 'torch'."
        )


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds on the device, by CUDA events."""

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float


class CudaPending:
    """A batch on its way; `events` mark start, copied in, computed, copied out."""

    def __init__(self, vectors: Tensor, events: list[torch.cuda.Event]) -> None:
        self._vectors = vectors
        self._events = events

    def result(self) -> Float32:
        self._events[-1].synchronize()
        vectors: Float32 = self._vectors.numpy()
        return vectors

    def times(self) -> StageTimes:
        """Waits for the batch."""
        self._events[-1].synchronize()
        pairs = zip(self._events, self._events[1:], strict=False)
        return StageTimes(*(start.elapsed_time(end) for start, end in pairs))


class CudaExecutor:
    """One copy in, the compiled model, one copy out, all asynchronous on the current stream."""

    def __init__(self, model: PackedBert, max_autotune: bool = False) -> None:
        self._model = model.to("cuda", torch.bfloat16)
        mode = "max-autotune-no-cudagraphs" if max_autotune else None
        compiled = torch.compile(self._model, dynamic=True, mode=mode)
        self._graphs = GraphCache(CompiledModel(compiled, self._model), CudaCapture())

    def start(self, batch: PackedBatch) -> Pending:
        events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]  # type: ignore[no-untyped-call]
        # Pinned blocks are cached by torch and not used again before their copies are done.
        pinned = torch.from_numpy(batch.buffer).pin_memory()
        events[0].record()
        buffer = pinned.to("cuda", non_blocking=True)
        events[1].record()
        with torch.inference_mode():
            u = self._graphs.run(buffer, batch.shape)[: batch.texts]  # (b, d)
        events[2].record()
        vectors = torch.empty(u.shape, dtype=torch.float32, pin_memory=True)
        vectors.copy_(u, non_blocking=True)
        events[3].record()
        return CudaPending(vectors, events)

    def states(self, batch: PackedBatch) -> Float32:
        buffer = torch.from_numpy(batch.buffer).to("cuda")
        with torch.inference_mode():  # rare and small: not compiled
            h = self._model.states(*split_buffer(buffer, batch.shape.tokens), batch.shape.longest)
        found: Float32 = h.float().cpu().numpy()
        return found


class CompiledModel:
    """`compiled` for as long as it can be compiled, then `plain`, which computes the same with more launches.

    Torch compiles at the first call, and needs a C compiler, Python's headers and a folder of which programs
    may be run, which containers often lack.
    """

    def __init__(self, compiled: Model, plain: Model) -> None:
        self._compiled = compiled
        self._plain = plain

    def __call__(self, token_ids: Tensor, starts: Tensor, longest: int) -> Tensor:
        try:
            return self._compiled(token_ids, starts, longest)
        except TorchDynamoException as error:
            _log.warning(
                "The encoder runs uncompiled, which is slower (%s). To compile it needs a C compiler such as "
                "gcc, Python's headers, and a TMPDIR that is not mounted noexec",
                " ".join(str(error).partition("\n\n")[0].split()),
            )
            self._compiled = self._plain
        return self._plain(token_ids, starts, longest)


@dataclass(frozen=True, slots=True)
class _Graph:
    buffer: Tensor
    output: Tensor
    replay: Replay


class GraphCache:
    """Runs small shapes as one captured graph each, so that they do not wait for a hundred kernel launches.

    A shape is captured when it first comes; after `max_graphs` of them new ones run as large shapes do.
    The result of `run` is valid until the next call.
    """

    def __init__(self, model: Model, capture: Capture, max_graphs: int = MAX_GRAPHS) -> None:
        self._model = model
        self._capture = capture
        self._max_graphs = max_graphs
        self._graphs: dict[PackedShape, _Graph] = {}

    def run(self, buffer: Tensor, shape: PackedShape) -> Tensor:
        """Embeddings (S, d) of the `buffer` (T + S + 1,) of a batch of `shape`."""
        graph = self._graphs.get(shape)
        if graph is None and shape.is_small and len(self._graphs) < self._max_graphs:
            graph = self._graphs[shape] = self._record(buffer.clone(), shape)
        if graph is None:
            return self._call(buffer, shape)
        graph.buffer.copy_(buffer)
        graph.replay()
        return graph.output

    def _record(self, buffer: Tensor, shape: PackedShape) -> _Graph:
        output, replay = self._capture(lambda: self._call(buffer, shape))
        return _Graph(buffer, output, replay)

    def _call(self, buffer: Tensor, shape: PackedShape) -> Tensor:
        return self._model(*split_buffer(buffer, shape.tokens), shape.longest)


class CudaCapture:
    """Captures a computation as a CUDA graph; all share one memory pool, as only one runs at a time."""

    def __init__(self) -> None:
        self._pool: Any = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # compilation and library set-up must not fall into the capture
            for _ in range(2):
                compute()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = compute()
        return output, graph.replay
