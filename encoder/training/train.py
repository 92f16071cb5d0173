"""Trains an encoder: `train_encoder(settings)` from files of pairs to a loadable model folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from encoder.checkpoint import Checkpoint, load_checkpoint
from encoder.engine import EngineSettings
from encoder.service import load_encoder
from encoder.training.batches import Batches
from encoder.training.curves import draw_curves
from encoder.training.export import average, device, renamed, weights_of, write_model
from encoder.training.loop import OnProgress, Run, TrainReport
from encoder.training.lora import merge_lora
from encoder.training.pairs import require_file
from encoder.training.settings import TrainSettings
from encoder.training.sources import Source, load_source, read_at_once, sample_passages
from encoder.training.state import delete_state, require_same_run, run_key
from encoder.training.step import Step
from encoder.training.trainable import choose_trainable, trainable_bert

_CALIBRATION_PASSAGES = 300
_PATIENCE_S = 86_400.0  # nobody waits for an answer, and the machine may be busy or paused


def train_encoder(settings: TrainSettings, on_progress: OnProgress = lambda _: None) -> TrainReport:
    """Runs to the end and writes `settings.out`; goes on from a checkpoint that is found there.

    Raises InvalidInput for bad pairs or settings and for a ModernBERT, CheckpointError for a bad start folder
    or checkpoint.
    """
    prepare_torch(settings)
    start = load_checkpoint(settings.start)
    model = trainable_bert(start.config, start.weights).to(device())
    trained = choose_trainable(model, settings)
    key = checked_key(settings, repr(settings), start)
    sources = load_sources(settings, start)
    batches = Batches(sources, settings.batch_size, settings.steps, settings.seed)
    run = Run(settings, key, trained, batches, Step(model, sources, settings))
    start_mrr = run.to_the_end(on_progress)
    merge_lora(model)
    weights = weights_of(model)
    if settings.start_share:
        weights = average(start.weights, weights, 1 - settings.start_share)
    config = renamed(start.config, settings.model_id)
    texts = sample_passages(sources, _CALIBRATION_PASSAGES)
    saved = write_model(settings.out, config, weights, start.tokenizer_json, texts)
    model.load_state_dict({name: torch.from_numpy(w) for name, w in saved.weights.items()})
    report = run.report(saved.fingerprint, start_mrr, draw_curves)
    delete_state(settings.out)
    return report


def prepare_torch(settings: TrainSettings) -> None:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)


def checked_key(settings: TrainSettings, told: str, start: Checkpoint) -> str:
    """The key of the run, before work is done in vain; `told` is all that it was told.

    Raises InvalidInput for a file that does not exist, CheckpointError for a checkpoint of another run.
    """
    paths = [file.path for file in settings.files]
    for path in paths:
        require_file(path)
    key = run_key(told, start.fingerprint, paths)
    require_same_run(settings.out, key)
    return key


def load_sources(settings: TrainSettings, start: Checkpoint) -> list[Source]:
    """All files of pairs, with the vectors of the start model."""
    backend = "torch" if torch.cuda.is_available() else "openvino"
    # OpenVINO gives a thread that compiles a model a stack for its signals, and frees it with the model, on
    # whichever thread that is: had this one such a stack, Ctrl-C could find it gone, and end in a fault.
    with ThreadPoolExecutor(1) as aside:
        encoder = aside.submit(
            load_encoder,
            settings.start,
            backend,
            threads=settings.threads,
            max_tokens=read_at_once(settings, start),
            settings=EngineSettings(bulk_timeout_s=_PATIENCE_S),
        ).result()
    try:
        return [load_source(file, settings, start, encoder) for file in settings.files]
    finally:
        encoder.close()
