"""The training loop of generators: steps within a limit of number and time, checkpoints, held-out losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

import torch
from torch import nn

from encoder.encoder_decoder import EncoderDecoder, SourceBatch
from encoder.generator_config import PAD
from encoder.training.bfloat16 import bfloat16
from encoder.training.generation_batches import GenerationBatch, GenerationBatches
from encoder.training.generation_settings import GeneratorSettings
from encoder.training.interrupts import steps_to_the_end
from encoder.training.loop import require_finite
from encoder.training.state import RunState, load_state, save_state

_LONGEST_STEP_S = 20.0  # more of a step's time was a pause of the machine and does not count


@dataclass(frozen=True, slots=True)
class GenerationProgress:
    """After `step` steps: the loss of the last one in nats a token, and those of held-out rows by task where
    they were measured at this step. `position` is where the next batch begins."""

    step: int
    seconds: float
    tokens: int
    learning_rate: float
    loss: float
    position: int
    dev: Mapping[str, float] | None = None

    @property
    def parts(self) -> dict[str, float]:
        return {"loss": self.loss}


OnStep = Callable[[GenerationProgress], None]


class GenerationRun:
    """A model in training, its optimizer, and how far it has come."""

    def __init__(
        self, settings: GeneratorSettings, key: str, model: EncoderDecoder, batches: GenerationBatches
    ) -> None:
        """`key` is equal for runs that may continue each other."""
        self._settings = settings
        self._key = key
        self._model = model
        self._batches = batches
        self._device = next(model.parameters()).device
        self._optimizer = _optimizer(model, settings)
        self.done, self.seconds, self.tokens, self._position = 0, 0.0, 0, 0
        self.progress: list[GenerationProgress] = []

    def to_the_end(self, on_step: OnStep) -> None:
        """Goes on from a checkpoint if there is one, and saves one where it is interrupted."""
        self._resume()
        steps_to_the_end(self.is_over, lambda: on_step(self.advance()), self._save)
        self._save()

    def is_over(self) -> bool:
        return self._share_done() >= 1

    def advance(self) -> GenerationProgress:
        """One step; measures and saves when it is time to."""
        began = time.perf_counter()
        rate = learning_rate(self._share_done(), self._settings)
        batch, self._position = self._batches.next(self._position)
        loss = self._update(batch, rate)
        require_finite(loss, self.done + 1, rate)
        self.done += 1
        self.tokens += int((batch.targets != PAD).sum())
        dev = self.dev_losses() if self.done % self._settings.dev_every == 0 else None
        self.seconds += min(time.perf_counter() - began, _LONGEST_STEP_S)
        report = GenerationProgress(self.done, self.seconds, self.tokens, rate, loss, self._position, dev)
        self.progress.append(report)
        if self.done % self._settings.checkpoint_every == 0:
            self._save()
        return report

    def dev_losses(self) -> dict[str, float]:
        """Nats a token of the held-out rows, by task."""
        self._model.eval()
        with torch.inference_mode():
            losses = {
                str(task): self._mean_loss(batches) for task, batches in self._batches.dev_batches().items()
            }
        self._model.train()
        return losses

    def _mean_loss(self, batches: Sequence[GenerationBatch]) -> float:
        sums = [(float(-log_probs.sum()), log_probs.numel()) for log_probs in map(self._log_probs, batches)]
        return sum(total for total, _ in sums) / sum(count for _, count in sums)

    def _update(self, batch: GenerationBatch, rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = -self._log_probs(batch).mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.max_gradient_norm)
        self._optimizer.step()
        return float(loss.detach())

    def _log_probs(self, batch: GenerationBatch) -> torch.Tensor:
        """Log probabilities of all target tokens of a batch, in one row."""
        source = SourceBatch(*(tensor.to(self._device) for tensor in batch.source))
        inputs, targets = batch.inputs.to(self._device), batch.targets.to(self._device)
        with self._precision():
            memory = self._model.read(source)
            log_probs = self._model.target_log_probs(memory, inputs, targets)
        return log_probs[targets != PAD]

    def _precision(self) -> AbstractContextManager[object]:
        return bfloat16(self._device.type, self._settings.bf16)

    def _share_done(self) -> float:
        limit = self._settings.max_seconds
        return max(self.done / self._settings.steps, self.seconds / limit if limit else 0.0)

    def _resume(self) -> None:
        state = load_state(self._settings.out, self._key)
        if state is None:
            return
        self._model.load_state_dict(state.trained)
        self._optimizer.load_state_dict(state.optimizer)
        self.done, self.seconds, self.tokens = state.step, state.seconds, state.tokens
        self.progress = [GenerationProgress(**row) for row in state.progress]
        self._position = self.progress[-1].position

    def _save(self) -> None:
        if not self.progress:
            return
        trained = {name: tensor.detach().cpu() for name, tensor in self._model.state_dict().items()}
        rows = [asdict(row) for row in self.progress]
        state = RunState(self.done, self.seconds, self.tokens, trained, self._optimizer.state_dict(), rows)
        save_state(self._settings.out, self._key, state)


def _optimizer(model: nn.Module, settings: GeneratorSettings) -> torch.optim.AdamW:
    """Weight decay is for matrices."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)


def learning_rate(share_done: float, settings: GeneratorSettings) -> float:
    """Rises linearly, stays until 40 % of the run, then falls linearly to a fiftieth of the peak."""
    peak, warmup, hold = settings.learning_rate, settings.warmup_share, 0.4
    if share_done < warmup:
        return peak * max(share_done / warmup, 0.02)
    return peak * min(1.0, max(0.02, 1 - (share_done - hold) / (1 - hold)))
