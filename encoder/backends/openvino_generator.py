"""The generator on a CPU: two compiled OpenVINO graphs, and the step model over them. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import openvino as ov

from core.types import Float16, Float32, Int32, Int64
from encoder.backends.openvino_generator_graph import build_reader, build_step, float_product, int8_product
from encoder.families import AnyArray
from encoder.generator_config import PAD, GeneratorConfig
from encoder.generator_parameters import EMBEDDING
from encoder.parameters import Weights

# OpenVINO generates code for each new length of sources and number of rows, a few MB; lengths are rounded up
# to multiples of these, and of the code that is not in use little is kept. More saved no time.
_LENGTHS = 16
_KEPT_KERNELS = "30"
_MASKED = np.float32(-1e9)  # added to the score of what may not be seen; exp of it is 0
_CHANGING = 3  # inputs of a step, before those that stay


class GeneratorPrecision(StrEnum):
    """Of the weights of matrix products, with one scale an output for int8; arithmetic is in float32."""

    INT8 = "int8"
    F32 = "f32"


@dataclass(frozen=True, slots=True)
class SourceStates:
    """A source to be read: cased `token_ids` (s,), the task's first, and the encoder's `states` (s, e) at
    their places, zeros for the task."""

    token_ids: Int32
    states: Float32


class OpenVinoGenerator:
    """Reads sources and decodes. One batch at a time: what `read` returned last is what may be stepped."""

    def __init__(
        self,
        config: GeneratorConfig,
        weights: Weights,
        silent: Int32,
        precision: GeneratorPrecision = GeneratorPrecision.INT8,
        threads: int = 1,
    ) -> None:
        """`silent` are ids of tokens that are never said."""
        product = int8_product if precision is GeneratorPrecision.INT8 else float_product
        properties = {
            "INFERENCE_PRECISION_HINT": "f32",
            "KV_CACHE_PRECISION": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # x stays as it is, whatever the weights are
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "ENABLE_CPU_PINNING": "NO",
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
        }
        core = ov.Core()
        graphs = (build_reader(config, weights, product), build_step(config, weights, product))
        reader, step = (core.compile_model(graph, "CPU", properties) for graph in graphs)
        self._reader = reader.create_infer_request()
        self._step = step.create_infer_request()
        self._table = weights[EMBEDDING].astype(np.float16)  # (V, d): as it is stored
        self._silent = silent
        self._config = config

    def read(self, sources: Sequence[SourceStates]) -> OpenVinoSteps:
        """The step model of these sources, one row each."""
        longest = max(len(source.token_ids) for source in sources)
        token_ids, states = padded(sources, self._config.encoder_d, -(-longest // _LENGTHS) * _LENGTHS)
        mask = np.where(token_ids == PAD, _MASKED, np.float32(0))  # (n, s)
        embeddings = self._table[token_ids].astype(np.float32)  # (n, s, d)
        found = self._reader.infer([states, embeddings, mask[:, None, None]], share_outputs=True)
        copy_mask = mask.copy()
        copy_mask[:, 0] = _MASKED  # the task is no word of the text
        read = [token_ids, mask[:, None, None], copy_mask[:, None]]
        # These stay in the reader's memory: it is not run again before all is decoded.
        read += [found[place] for place in range(len(self._reader.model_outputs))]
        self._step.reset_state()
        return OpenVinoSteps(self._step, self._table, self._silent, read)


class OpenVinoSteps:
    """Implements encoder.generation.steps.StepModel; the cache is the state of `request`.

    `read` is what the step graph takes of the n sources, each with these on its first axis.
    """

    def __init__(
        self, request: ov.InferRequest, table: Float16, silent: Int32, read: Sequence[AnyArray]
    ) -> None:
        self._request = request
        self._table = table
        self._silent = silent
        self._read = read
        self._sources = np.arange(len(read[0]))  # of each row
        self._rows = np.arange(len(read[0]))  # of the cache, to go on from
        self._inputs: tuple[Float32, Int32, Int32] | None = None  # where they are: embeddings, position, rows
        self._position = 0
        self._bound: tuple[Int64, list[AnyArray]] | None = None  # the request knows addresses alone

    @property
    def vocab_size(self) -> int:
        return len(self._table)

    def step(self, tokens: Int32) -> Float32:
        self._bind_sources(_once_each(self._sources))
        embeddings, position, rows = self._bind_inputs(len(tokens))
        embeddings[:, 0] = self._table[tokens]
        position[0] = self._position
        rows[:] = self._rows
        self._request.infer({}, share_outputs=True)
        self._position += 1
        self._rows = np.arange(len(tokens))
        log_probs = np.array(self._request.get_output_tensor(0).data, np.float32)  # (r, V)
        log_probs[:, self._silent] = -np.inf
        return log_probs

    def reorder(self, rows: Int64) -> None:
        self._rows = self._rows[rows]
        self._sources = self._sources[rows]

    def _bind_inputs(self, rows: int) -> tuple[Float32, Int32, Int32]:
        """Where the graph reads what changes with every step; to be handed them costs it time."""
        if self._inputs is None or len(self._inputs[0]) != rows:
            d = self._table.shape[1]
            self._inputs = (
                np.empty((rows, 1, d), np.float32),
                np.empty(1, np.int32),
                np.empty(rows, np.int32),
            )
            for place, array in enumerate(self._inputs):
                self._request.set_input_tensor(place, ov.Tensor(array, shared_memory=True))
        return self._inputs

    def _bind_sources(self, sources: Int64) -> None:
        """Has the graph read `sources`, unless it does already."""
        if self._bound is not None and np.array_equal(sources, self._bound[0]):
            return
        are_all = np.array_equal(sources, np.arange(len(self._read[0])))
        arrays = [array if are_all else array[sources] for array in self._read]
        for place, array in enumerate(arrays, start=_CHANGING):
            self._request.set_input_tensor(place, ov.Tensor(array, shared_memory=True))
        self._bound = (sources, arrays)


def _once_each(sources: Int64) -> Int64:
    """Sources in the order of their rows (r,), once each if all have equally many rows beside each other."""
    begins = np.flatnonzero(np.diff(sources, prepend=-1))
    group = len(sources) // len(begins)
    is_even = len(sources) % len(begins) == 0 and np.array_equal(begins, np.arange(len(begins)) * group)
    return sources[begins] if is_even else sources


def padded(sources: Sequence[SourceStates], e: int, least: int = 0) -> tuple[Int32, Float32]:
    """Token ids (n, s) and states (n, s, e), s being the longest source's tokens, and `least` at least."""
    s = max(least, *(len(source.token_ids) for source in sources))
    token_ids = np.full((len(sources), s), PAD, np.int32)
    states = np.zeros((len(sources), s, e), np.float32)
    for row, source in enumerate(sources):
        token_ids[row, : len(source.token_ids)] = source.token_ids
        states[row, : len(source.token_ids)] = source.states
    return token_ids, states
