"""The plain reference backend: the torch model as it stands, padded batches, float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from core.cores import core_limit
from core.types import Float32
from encoder.backends.base import Forward, Int32
from encoder.bert import Bert, bert_from_weights
from encoder.config import ModelConfig
from encoder.modern_bert import ModernBert, modern_bert_from_weights
from encoder.parameters import Weights


class TorchBackend:
    """Runs on CUDA when there is one, else on the CPU. `threads` of 0 leaves torch's own choice, within a
    container's share."""

    needs_one_thread = False
    bulk_streams: tuple[Forward, ...] = ()
    bulk_states: Forward | None = None

    def __init__(self, config: ModelConfig, weights: Weights, threads: int = 0) -> None:
        if threads := threads or core_limit():
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = _model(config, weights).to(self._device)

    def padded_length(self, tokens: int) -> int:
        return tokens

    def forward(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._run(self._model, token_ids, lengths)

    def states(self, token_ids: Int32, lengths: Int32) -> Float32:
        return self._run(self._model.states, token_ids, lengths)

    def _run(self, function: Callable[[Tensor, Tensor], Tensor], token_ids: Int32, lengths: Int32) -> Float32:
        is_text = np.arange(token_ids.shape[1]) < lengths[:, None]  # (b, t)
        with torch.inference_mode():
            result = function(
                torch.from_numpy(token_ids).to(self._device),
                torch.from_numpy(is_text).to(self._device),
            )
        found: Float32 = result.float().cpu().numpy()
        return found


def _model(config: ModelConfig, weights: Weights) -> Bert | ModernBert:
    if config.modern:
        return modern_bert_from_weights(config, config.modern, weights)
    return bert_from_weights(config, weights)
