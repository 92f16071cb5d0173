"""Trains an encoder: `train_encoder(settings)` from files of pairs to a loadable model folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from encoder.bert import bert_from_weights
from encoder.checkpoint import Checkpoint, load_checkpoint
from encoder.service import load_encoder
from encoder.training.batches import Batches
from encoder.training.curves import draw_curves
from encoder.training.export import average, device, renamed, weights_of, write_model
from encoder.training.lora import merge_lora
from encoder.training.settings import TrainSettings
from encoder.training.sources import Source, load_source, sample_passages
from encoder.training.state import RunState, delete_state, load_state, run_key, save_state
from encoder.training.step import Losses, Step
from encoder.training.trainable import choose_trainable

_CALIBRATION_PASSAGES = 300


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
    contrastive: float
    embedding: float
    similarity: float
    dev_mrr: float | None = None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run did. The mean reciprocal ranks are of the held-out pairs by the start model and by the saved
    one, NaN where no pair was held out. `curves` is the picture, None where matplotlib is not installed.
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
    curves: Path | None


OnProgress = Callable[[Progress], None]


def train_encoder(settings: TrainSettings, on_progress: OnProgress = lambda _: None) -> TrainReport:
    """Runs to the end and writes `settings.out`; goes on from a checkpoint that is found there.

    Raises InvalidInput for bad pairs or settings, CheckpointError for a bad start folder or checkpoint.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    start = load_checkpoint(settings.start)
    sources = _load_sources(settings, start)
    run = _Run(settings, start, sources)
    run.resume()
    start_mrr = run.start_mrr()
    while not run.is_over():
        on_progress(run.advance())
    return _finish(run, settings, start, start_mrr, sample_passages(sources, _CALIBRATION_PASSAGES))


def _load_sources(settings: TrainSettings, start: Checkpoint) -> list[Source]:
    backend = "torch" if torch.cuda.is_available() else "openvino"
    encoder = load_encoder(settings.start, backend, threads=settings.threads, max_tokens=settings.max_tokens)
    try:
        return [load_source(file, settings, start, encoder) for file in settings.files]
    finally:
        encoder.close()


class _Run:
    """The model, its optimizer, and how far training has come."""

    def __init__(self, settings: TrainSettings, start: Checkpoint, sources: list[Source]) -> None:
        self._settings = settings
        self._key = run_key(settings, start.fingerprint)
        self.model = bert_from_weights(start.config, start.weights).to(device())
        self._trained = choose_trainable(self.model, settings)
        self.trained_weights = sum(parameter.numel() for parameter in self._trained.values())
        self._batches = Batches(sources, settings.batch_size, settings.steps, settings.seed)
        self._sources = len(sources)
        self._step = Step(self.model, sources, settings)
        self._optimizer = build_optimizer(self._trained, settings)
        self.done, self.seconds, self.tokens = 0, 0.0, 0
        self.progress: list[Progress] = []

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
        return self._step.start_mrr([self._batches.dev(i) for i in range(self._sources)])

    def is_over(self) -> bool:
        return self._share_done() >= 1

    def advance(self) -> Progress:
        """One step; measures and saves when it is time to."""
        began = time.perf_counter()
        rate = learning_rate(self._share_done(), self._settings)
        losses, tokens = self._update(rate)
        self.done += 1
        self.tokens += tokens
        self.seconds += time.perf_counter() - began
        report = self._report(rate, losses)
        self.progress.append(report)
        if self.done % self._settings.checkpoint_every == 0:
            self._save()
        return report

    def dev_mrr(self) -> float:
        return self._step.dev_mrr([self._batches.dev(i) for i in range(self._sources)])

    def _update(self, rate: float) -> tuple[Losses, int]:
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

    def _report(self, rate: float, losses: Losses) -> Progress:
        is_measured = self.done % self._settings.dev_every == 0
        return Progress(
            step=self.done,
            steps=self._settings.steps,
            seconds=self.seconds,
            tokens=self.tokens,
            learning_rate=rate,
            **losses.as_numbers(),
            dev_mrr=self.dev_mrr() if is_measured else None,
        )

    def _save(self) -> None:
        trained = {name: parameter.detach().cpu() for name, parameter in self._trained.items()}
        rows = [asdict(row) for row in self.progress]
        state = RunState(self.done, self.seconds, self.tokens, trained, self._optimizer.state_dict(), rows)
        save_state(self._settings.out, self._key, state)


def build_optimizer(trained: Mapping[str, nn.Parameter], settings: TrainSettings) -> torch.optim.AdamW:
    """Weight decay is for matrices; biases and norms go without."""
    matrices = [parameter for parameter in trained.values() if parameter.dim() > 1]
    vectors = [parameter for parameter in trained.values() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.peak_learning_rate)


def learning_rate(share_done: float, settings: TrainSettings) -> float:
    """Rises linearly over `warmup_share` of the run, then falls linearly to a tenth of the peak."""
    peak, warmup = settings.peak_learning_rate, settings.warmup_share
    if share_done < warmup:
        return peak * max(share_done / warmup, 0.05)
    return peak * (1 - 0.9 * (share_done - warmup) / (1 - warmup))


def _finish(
    run: _Run, settings: TrainSettings, start: Checkpoint, start_mrr: float, texts: Sequence[str]
) -> TrainReport:
    merge_lora(run.model)
    weights = weights_of(run.model)
    if settings.start_share:
        weights = average(start.weights, weights, 1 - settings.start_share)
    config = renamed(start.config, settings.model_id)
    saved = write_model(settings.out, config, weights, start.tokenizer_json, texts)
    run.model.load_state_dict({name: torch.from_numpy(w) for name, w in saved.weights.items()})
    report = TrainReport(
        folder=settings.out,
        fingerprint=saved.fingerprint,
        trained_weights=run.trained_weights,
        steps=run.done,
        seconds=run.seconds,
        tokens=run.tokens,
        start_mrr=start_mrr,
        final_mrr=run.dev_mrr(),
        progress=tuple(run.progress),
        curves=draw_curves(settings.out, run.progress, start_mrr),
    )
    delete_state(settings.out)
    return report
