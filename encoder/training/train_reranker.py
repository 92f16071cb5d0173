"""Trains a cross-encoder: `train_reranker(settings)` from files of pairs to a loadable folder."""

from __future__ import annotations

import numpy as np

from encoder.checkpoint import load_checkpoint
from encoder.cross_checkpoint import load_cross_encoder, save_cross_encoder
from encoder.pair_tokenizer import PairTokenizer
from encoder.training.batches import Batches
from encoder.training.curves import draw_curves
from encoder.training.export import device, renamed
from encoder.training.loop import OnProgress, Run, TrainReport
from encoder.training.lora import merge_lora
from encoder.training.pair_model import cross_config, load_saved, pair_model, trained_parts
from encoder.training.rerank_step import RerankStep
from encoder.training.settings import RerankSettings
from encoder.training.state import delete_state
from encoder.training.train import checked_key, load_sources, prepare_torch
from encoder.training.trainable import choose_trainable


def train_reranker(settings: RerankSettings, on_progress: OnProgress = lambda _: None) -> TrainReport:
    """Runs to the end and writes `settings.run.out`; goes on from a checkpoint that is found there.

    The blocks start from an encoder's, the head from random weights. Raises InvalidInput for bad pairs or
    settings, CheckpointError for a bad start folder or checkpoint.
    """
    run_settings = settings.run
    prepare_torch(run_settings)
    start = load_checkpoint(run_settings.start)
    model = pair_model(start).to(device())
    key = checked_key(run_settings, repr(settings), start)
    sources = load_sources(run_settings, start)
    tokenizer = PairTokenizer(start.tokenizer_json, run_settings.max_tokens, start.config.vocab_size)
    trained = {f"bert.{n}": p for n, p in choose_trainable(model.bert, run_settings).items()}
    trained |= {n: p for n, p in model.named_parameters() if not n.startswith("bert.")}
    run = Run(
        run_settings,
        key,
        trained,
        Batches(sources, run_settings.batch_size, run_settings.steps, run_settings.seed),
        RerankStep(model, sources, tokenizer, settings),
    )
    start_mrr = run.to_the_end(on_progress)
    merge_lora(model)
    encoder, head = trained_parts(start, model)
    save_cross_encoder(
        run_settings.out,
        renamed(cross_config(start.config), run_settings.model_id),
        {name: array.astype(np.float16) for name, array in encoder.items()},
        {name: array.astype(np.float16) for name, array in head.items()},
        start.tokenizer_json,
    )
    saved = load_cross_encoder(run_settings.out)
    load_saved(model, saved)
    report = run.report(saved.encoder.fingerprint, start_mrr, draw_curves)
    delete_state(run_settings.out)
    return report
