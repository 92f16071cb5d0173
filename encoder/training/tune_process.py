"""A process of its own that tunes adapters, so that the memory of training ends with it.

python -m encoder.training.tune_process TASK_FOLDER

Reads `task.json`, tells the share done in a line for each step, and writes `adapters.safetensors`. Why it
failed is the last line of its standard error. It ends when its standard input does, which is when the process
that started it is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from core.cores import cores
from core.errors import CognateError
from core.types import PassageText
from encoder.adapters import merge, ranges_to_arrays
from encoder.backends.base import Int32
from encoder.backends.openvino_int8 import Observer
from encoder.calibrate import SENTENCES, measure_ranges
from encoder.checkpoint import Checkpoint, load_checkpoint
from encoder.int8 import RANGES, load_ranges
from encoder.tokenizer import Tokenizer
from encoder.training.bfloat16 import computes_bfloat16
from encoder.training.few_shot import Adapters, tune_adapters
from encoder.training.settings import TuneSettings

TASK, ADAPTERS = "task.json", "adapters.safetensors"
_NICENESS = 10  # searches go before
_CALIBRATION_TEXTS = 200


@dataclass(frozen=True, slots=True)
class TuneTask:
    """What the process is told. `labels` are the columns of the true labels of each of `texts`."""

    model: str
    max_tokens: int
    texts: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    seed: int
    threads: int
    settings: TuneSettings


def main(folder: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICENESS)
    task = read_task(folder / TASK)
    torch.set_num_threads(task.threads or cores())
    try:
        save_file(tune(task), folder / ADAPTERS)
    except CognateError as error:
        sys.exit(str(error))


def read_task(path: Path) -> TuneTask:
    plain = json.loads(path.read_text(encoding="utf-8"))
    plain["settings"] = TuneSettings(**plain["settings"])
    return TuneTask(**plain)


def tune(task: TuneTask) -> Adapters:
    """Adapters with the ranges that int8 needs, in float16."""
    checkpoint = load_checkpoint(Path(task.model), task.max_tokens)
    config = checkpoint.config
    tokenizer = Tokenizer(checkpoint.tokenizer_json, min(config.at_once, task.settings.max_tokens))
    token_ids = tokenizer.encode_passages(
        [PassageText("", text) for text in task.texts], config.passage_prompt
    )
    truth = np.zeros(
        (len(task.texts), 1 + max((max(row, default=0) for row in task.labels), default=0)), bool
    )
    for row, labels in zip(truth, task.labels, strict=True):
        row[list(labels)] = True
    settings = replace(task.settings, bf16=computes_bfloat16("cpu"))
    adapters = tune_adapters(config, checkpoint.weights, token_ids, truth, settings, task.seed, _tell)
    sample = token_ids[:: -(-len(token_ids) // _CALIBRATION_TEXTS)]
    seen = [*tokenizer.encode(SENTENCES, config.passage_prompt), *sample]
    return adapters | _calibrated(Path(task.model), checkpoint, adapters, seen)


def _calibrated(folder: Path, base: Checkpoint, adapters: Adapters, token_ids: Sequence[Int32]) -> Adapters:
    """Ranges of the inputs of all products of the tuned model: the base's, widened by these texts."""
    ranges = measure_ranges(Observer(base.config, merge(base.weights, adapters)), token_ids)
    if (folder / RANGES).is_file():
        for name, known in load_ranges(folder, base.weights_sha256).items():
            ranges[name] = ranges[name].widened(np.stack([known.low, known.high]))
    return {name: bound.astype(np.float16) for name, bound in ranges_to_arrays(ranges).items()}


def _tell(share: float) -> None:
    sys.stdout.write(f"{share:.4f}\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
