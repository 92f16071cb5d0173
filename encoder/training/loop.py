"""The training loop: steps within a limit of number and time, checkpoints, and what is reported of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from core.errors import InvalidInput
from encoder.training.batches import Batch, Batches
from encoder.training.interrupts import steps_to_the_end
from encoder.training.settings import TrainSettings
from encoder.training.state import RunState, load_state, save_state


class StepLosses(Protocol):
    """`total` carries the gradient."""

    @property
    def total(self) -> Tensor: ...

    def parts(self) -> dict[str, float]:
        """What the total is made of, by name."""
        ...


class TrainStep(Protocol):
    """Turns batches into losses by the present weights of a model."""

    def losses(self, batch: Batch) -> tuple[StepLosses, int]:
        """The losses of a batch, and how many tokens it had."""
        ...

    def dev_mrr(self, batches: Sequence[Batch]) -> float:
        """Mean reciprocal rank of held-out pairs, NaN where there are none."""
        ...

    def start_mrr(self, batches: Sequence[Batch]) -> float:
        """The same by the start model's vectors."""
        ...


class OptimizerSettings(Protocol):
    """What the optimizer and its learning rates are told."""

    @property
    def peak_learning_rate(self) -> float: ...
    @property
    def warmup_share(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """After `step` steps: losses of the last one, and the mean reciprocal rank of the held-out pairs
    where it was measured at this step."""

    step: int
    steps: int
    seconds: float
    tokens: int
    learning_rate: float
    loss: float
    parts: Mapping[str, float]
    dev_mrr: float | None = None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run did. The mean reciprocal ranks are of the held-out pairs by the start model and by the saved
    one, NaN where no pair was held out. `curves` is the picture.
    """

    folder: Path
    fingerprint: str
    trained_weights: int
    steps: int
    seconds: float
    tokens: int
    start_mrr: float
    final_mrr: float
    progress: tuple[Progress, ...]
    curves: Path


OnProgress = Callable[[Progress], None]


class Run:
    """The trained weights, their optimizer, and how far training has come."""

    def __init__(
        self,
        settings: TrainSettings,
        key: str,
        trained: Mapping[str, nn.Parameter],
        batches: Batches,
        step: TrainStep,
    ) -> None:
        """`key` is equal for runs that may continue each other."""
        self._settings = settings
        self._key = key
        self._trained = trained
        self.trained_weights = sum(parameter.numel() for parameter in trained.values())
        self._batches = batches
        self._step = step
        self._optimizer = build_optimizer(trained, settings)
        self.done, self.seconds, self.tokens = 0, 0.0, 0
        self.progress: list[Progress] = []

    def to_the_end(self, on_progress: OnProgress) -> float:
        """Goes on from a checkpoint if there is one, and saves one where it is interrupted; the start model's
        mean reciprocal rank."""
        self.resume()
        start_mrr = self.start_mrr()
        steps_to_the_end(self.is_over, lambda: on_progress(self.advance()), self._save)
        return start_mrr

    def resume(self) -> None:
        state = load_state(self._settings.out, self._key)
        if state is None:
            return
        with torch.no_grad():
            for name, tensor in state.trained.items():
                self._trained[name].copy_(tensor)
        self._optimizer.load_state_dict(state.optimizer)
        self.done, self.seconds, self.tokens = state.step, state.seconds, state.tokens
        self.progress = [Progress(**row) for row in state.progress]

    def start_mrr(self) -> float:
        """Of the held-out pairs by the start model's vectors, which the sources hold."""
        return self._step.start_mrr(self._batches.all_dev())

    def is_over(self) -> bool:
        return self._share_done() >= 1

    def advance(self) -> Progress:
        """One step; measures and saves when it is time to."""
        began = time.perf_counter()
        rate = learning_rate(self._share_done(), self._settings)
        losses, tokens = self._update(rate)
        loss = losses.total.item()  # waits for a GPU, whose time is to count
        require_finite(loss, self.done + 1, rate)
        self.done += 1
        self.tokens += tokens
        self.seconds += time.perf_counter() - began
        report = self._report(rate, loss, losses.parts())
        self.progress.append(report)
        if self.done % self._settings.checkpoint_every == 0:
            self._save()
        return report

    def dev_mrr(self) -> float:
        return self._step.dev_mrr(self._batches.all_dev())

    def report(
        self,
        fingerprint: str,
        start_mrr: float,
        draw: Callable[[Path, Sequence[Progress], float], Path],
    ) -> TrainReport:
        """Of the whole run, measured now."""
        return TrainReport(
            folder=self._settings.out,
            fingerprint=fingerprint,
            trained_weights=self.trained_weights,
            steps=self.done,
            seconds=self.seconds,
            tokens=self.tokens,
            start_mrr=start_mrr,
            final_mrr=self.dev_mrr(),
            progress=tuple(self.progress),
            curves=draw(self._settings.out, self.progress, start_mrr),
        )

    def _update(self, rate: float) -> tuple[StepLosses, int]:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses, tokens = self._step.losses(self._batches.at(self.done))
        self._optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._trained.values(), self._settings.max_gradient_norm)
        self._optimizer.step()
        return losses, tokens

    def _share_done(self) -> float:
        """Of the steps or of the time, whichever is further."""
        limit = self._settings.max_seconds
        return max(self.done / self._settings.steps, self.seconds / limit if limit else 0.0)

    def _report(self, rate: float, loss: float, parts: Mapping[str, float]) -> Progress:
        is_measured = self.done % self._settings.dev_every == 0
        return Progress(
            step=self.done,
            steps=self._settings.steps,
            seconds=self.seconds,
            tokens=self.tokens,
            learning_rate=rate,
            loss=loss,
            parts=parts,
            dev_mrr=self.dev_mrr() if is_measured else None,
        )

    def _save(self) -> None:
        trained = {name: parameter.detach().cpu() for name, parameter in self._trained.items()}
        rows = [asdict(row) for row in self.progress]
        state = RunState(self.done, self.seconds, self.tokens, trained, self._optimizer.state_dict(), rows)
        save_state(self._settings.out, self._key, state)


def build_optimizer(trained: Mapping[str, nn.Parameter], settings: OptimizerSettings) -> torch.optim.AdamW:
    """Weight decay is for matrices; biases and norms go without."""
    matrices = [parameter for parameter in trained.values() if parameter.dim() > 1]
    vectors = [parameter for parameter in trained.values() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.peak_learning_rate)


def require_finite(loss: float, step: int, rate: float) -> None:
    """Raises InvalidInput for a loss that is no number: by then the weights are none either."""
    if not math.isfinite(loss):
        raise InvalidInput(
            f"The loss of step {step} is {loss}, at a learning rate of {rate:.2g}: training has diverged. "
            "Give a lower learning rate."
        )


def learning_rate(share_done: float, settings: OptimizerSettings) -> float:
    """Rises linearly over `warmup_share` of the run, then falls linearly to a tenth of the peak."""
    peak, warmup = settings.peak_learning_rate, settings.warmup_share
    if share_done < warmup:
        return peak * max(share_done / warmup, 0.05)
    return peak * (1 - 0.9 * (share_done - warmup) / (1 - warmup))
