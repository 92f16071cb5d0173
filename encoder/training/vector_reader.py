"""Trains a vector reader: `train_vector_reader(settings)` from files of texts to a loadable model folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.ports.models import Encoder
from core.types import Float32, PassageText
from encoder.checkpoint import write_files
from encoder.engine import EngineSettings
from encoder.generator_config import PAD, DecoderConfig
from encoder.generator_tokenizer import GeneratorTokenizer, train_tokenizer
from encoder.service import load_encoder
from encoder.training.bfloat16 import bfloat16
from encoder.training.curves import CURVES, smooth
from encoder.training.interrupts import steps_to_the_end
from encoder.training.loop import build_optimizer, learning_rate, require_finite
from encoder.training.state import (
    RunState,
    delete_state,
    load_state,
    require_same_run,
    run_key,
    save_state,
)
from encoder.training.vector_reader_data import Batch, Batches, Texts, embedded, read_texts, split, tokenized
from encoder.training.vector_reader_settings import VectorReaderSettings
from encoder.vector_reader import VectorReaderModel
from encoder.vector_reader_config import VectorReaderConfig, reader_to_json
from encoder.vector_reading import NumpyVectorReader, VectorReaderFolder, load_vector_reader

_PATIENCE_S = 86_400.0  # nobody waits for an answer, and the machine may be busy or paused
_LONGEST_STEP_S = 20.0  # more of a step's time was a pause of the machine and does not count
_READ_BACK = 500  # held-out vectors that are read and encoded again


@dataclass(frozen=True, slots=True)
class Progress:
    """After `step` steps; losses are in nats a token, those of held-out texts where they were measured."""

    step: int
    steps: int
    seconds: float
    tokens: int
    learning_rate: float
    loss: float
    held_out_loss: float | None = None


@dataclass(frozen=True, slots=True)
class VectorReaderReport:
    """What a run did, measured on held-out texts by the weights as they were saved.

    `shuffled_loss` is with the vectors of other texts, `mean_loss` with the mean vector for all: what the
    decoder knows of texts without being told which. `similarity` is the mean cosine of the vectors of the
    texts that were read back to those they were read from, `other_similarity` to those of other texts.
    """

    folder: Path
    fingerprint: str
    weights: int
    texts: int
    steps: int
    seconds: float
    tokens: int
    held_out_loss: float
    shuffled_loss: float
    mean_loss: float
    similarity: float
    other_similarity: float
    progress: tuple[Progress, ...]
    curves: Path


OnProgress = Callable[[Progress], None]


def train_vector_reader(
    settings: VectorReaderSettings, on_progress: OnProgress = lambda _: None
) -> VectorReaderReport:
    """Runs to the end and writes `settings.out`; goes on from a checkpoint that is found there.

    Raises InvalidInput for bad texts or settings, CheckpointError for a bad start folder or checkpoint.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    texts, held = split(read_texts(settings.files), settings)
    patient = EngineSettings(bulk_timeout_s=_PATIENCE_S)
    backend = "torch" if torch.cuda.is_available() else "openvino"
    encoder = load_encoder(settings.start, backend, threads=settings.threads, settings=patient)
    try:
        key = run_key(repr(settings), encoder.info.fingerprint, settings.files)
        require_same_run(settings.out, key)
        vocabulary = train_tokenizer(texts, settings.vocab_size, ())
        tokenizer = GeneratorTokenizer(vocabulary)
        short = [tokenized(some, tokenizer, settings.max_tokens) for some in (texts, held)]
        known, unknown = (
            Texts(tuple(some), embedded(list(some), encoder, settings.out), tuple(some.values()))
            for some in short
        )
        run = Run(settings, key, _config(settings, encoder, tokenizer), known, unknown)
        run.to_the_end(on_progress)
        return _finished(settings, run, vocabulary, encoder, unknown)
    finally:
        encoder.close()


def _config(
    settings: VectorReaderSettings, encoder: Encoder, tokenizer: GeneratorTokenizer
) -> VectorReaderConfig:
    shape = DecoderConfig(tokenizer.vocab_size, settings.d, settings.layers, settings.heads, 4 * settings.d)
    info = encoder.info
    return VectorReaderConfig(
        settings.model_id, shape, info.dim, info.fingerprint, settings.prefix, settings.max_tokens
    )


class Run:
    """The model, its optimizer, and how far training has come."""

    def __init__(
        self, settings: VectorReaderSettings, key: str, config: VectorReaderConfig, known: Texts, held: Texts
    ) -> None:
        """`key` is equal for runs that may continue each other."""
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = VectorReaderModel(config, settings.dropout).to(self.device)
        self.texts = len(known.texts)
        self.done, self.seconds, self.tokens = 0, 0.0, 0
        self.progress: list[Progress] = []
        self._settings = settings
        self._key = key
        self._trained = dict(self.model.named_parameters())
        self._optimizer = build_optimizer(self._trained, settings)
        self._batches = Batches(known, settings.batch_size, settings.seed, settings.noise)
        self._held = list(Batches(held, settings.batch_size, settings.seed).all())

    def to_the_end(self, on_progress: OnProgress) -> None:
        """Goes on from a checkpoint if there is one, and saves one where it is interrupted."""
        self._resume()
        steps_to_the_end(lambda: self._share_done() >= 1, lambda: on_progress(self._advance()), self._save)

    def held_out_loss(self, vectors_of: Callable[[Batch], Tensor] = lambda batch: batch.vectors) -> float:
        """Nats a token of the held-out texts, given `vectors_of` their batches."""
        self.model.eval()
        total, tokens = 0.0, 0
        with torch.no_grad():
            for batch in self._held:
                loss, count = self._loss(vectors_of(batch), batch.targets)
                total, tokens = total + loss.item() * count, tokens + count
        self.model.train()
        return total / tokens

    def mean_vector(self) -> Tensor:
        """(1, e) of the held-out texts, of unit length."""
        mean = torch.cat([batch.vectors for batch in self._held]).mean(0, keepdim=True)
        return F.normalize(mean, dim=1)

    def _advance(self) -> Progress:
        began, settings = time.perf_counter(), self._settings
        rate = learning_rate(self._share_done(), settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        batch = self._batches.at(self.done)
        loss, tokens = self._loss(batch.vectors, batch.targets)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._trained.values(), settings.max_gradient_norm)
        self._optimizer.step()
        value = loss.item()  # waits for a GPU, whose time is to count
        require_finite(value, self.done + 1, rate)
        self.done, self.tokens = self.done + 1, self.tokens + tokens
        self.seconds += min(time.perf_counter() - began, _LONGEST_STEP_S)
        held = self.held_out_loss() if self.done % settings.dev_every == 0 else None
        report = Progress(self.done, settings.steps, self.seconds, self.tokens, rate, value, held)
        self.progress.append(report)
        if self.done % settings.checkpoint_every == 0:
            self._save()
        return report

    def _loss(self, vectors: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """Mean of the tokens' losses, and how many tokens there are."""
        vectors, targets = vectors.to(self.device), targets.to(self.device)
        with bfloat16(self.device.type, self._settings.bf16):
            logits = self.model(vectors, targets[:, :-1])  # (b, t, V)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PAD)
        return loss, int((targets != PAD).sum())

    def _share_done(self) -> float:
        """Of the steps or of the time, whichever is further."""
        limit = self._settings.max_seconds
        return max(self.done / self._settings.steps, self.seconds / limit if limit else 0.0)

    def _resume(self) -> None:
        state = load_state(self._settings.out, self._key)
        if state is None:
            return
        with torch.no_grad():
            for name, tensor in state.trained.items():
                self._trained[name].copy_(tensor)
        self._optimizer.load_state_dict(state.optimizer)
        self.done, self.seconds, self.tokens = state.step, state.seconds, state.tokens
        self.progress = [Progress(**row) for row in state.progress]

    def _save(self) -> None:
        trained = {name: parameter.detach().cpu() for name, parameter in self._trained.items()}
        rows = [asdict(row) for row in self.progress]
        state = RunState(self.done, self.seconds, self.tokens, trained, self._optimizer.state_dict(), rows)
        save_state(self._settings.out, self._key, state)


def _finished(
    settings: VectorReaderSettings, run: Run, vocabulary: str, encoder: Encoder, held: Texts
) -> VectorReaderReport:
    """Saves in float16, then measures what was saved."""
    out = settings.out
    weights = {name: p.detach().half().cpu().numpy() for name, p in run.model.named_parameters()}
    write_files(out, reader_to_json(run.config), weights, vocabulary)
    run.model.load_state_dict({name: torch.from_numpy(w).float() for name, w in weights.items()})
    mean = run.mean_vector()
    similarity, other = read_back(load_vector_reader(out), encoder, held)
    losses = (
        run.held_out_loss(),
        run.held_out_loss(lambda batch: batch.vectors.roll(1, 0)),
        run.held_out_loss(lambda batch: mean.expand_as(batch.vectors)),
    )
    config = replace(run.config, held_out_loss=losses[0], shuffled_loss=losses[1], similarity=similarity)
    write_files(out, reader_to_json(config), weights, vocabulary)
    delete_state(out)
    return VectorReaderReport(
        out,
        VectorReaderFolder(out).info.fingerprint,
        sum(w.size for w in weights.values()),
        run.texts,
        run.done,
        run.seconds,
        run.tokens,
        *losses,
        similarity,
        other,
        tuple(run.progress),
        draw_losses(out, run.progress),
    )


def read_back(reader: NumpyVectorReader, encoder: Encoder, held: Texts) -> tuple[float, float]:
    """Mean cosine of vectors to those of the texts read from them, and from the vector before."""
    vectors: Float32 = held.vectors[:_READ_BACK].astype(np.float32)
    texts = [one.text for one in reader.read(vectors, reader.config.max_tokens)]
    again = encoder.encode_passages([PassageText("", text) for text in texts])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((vectors * again).sum(1).mean()), float((vectors * np.roll(again, 1, 0)).sum(1).mean())


def draw_losses(folder: Path, points: Sequence[Progress]) -> Path:
    """Losses of training and of held-out texts by step, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([p.step for p in points], smooth([p.loss for p in points], 0.98), label="training (smoothed)")
    held: Mapping[int, float] = {p.step: p.held_out_loss for p in points if p.held_out_loss is not None}
    axes.plot(list(held), list(held.values()), marker="o", label="held-out texts")
    axes.set(xlabel="step", ylabel="nats a token", title="reading a vector back")
    axes.legend()
    figure.savefig(folder / CURVES, dpi=120)
    return folder / CURVES
