"""A run of a few steps over made-up rows, with a tiny encoder and a tiny generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.types import Float16
from encoder.training.generation_settings import GeneratorSettings, GeneratorShape
from encoder.training.generation_sources import Rows
from tests.encoder.training.tiny import WORDS, save_tiny_model, write_rows

PLAIN = [
    "The cat sat on the mat. It was warm.",
    "Who wrote the first long novel of all?",
    "A small red fox ran.",
]


def write_generation_rows(path: Path, n: int = 40) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        words = rng.permutation(WORDS)[:5].tolist()
        task = ("simplify", "translate_en_es")[i % 2]
        rows.append({"task": task, "source": " ".join(words), "target": f"{words[0]} é {words[1]}"})
    return write_rows(path, rows)


def generation_settings(folder: Path, **changes: Any) -> GeneratorSettings:
    plain: dict[str, Any] = {
        "encoder": save_tiny_model(folder / "encoder"),
        "rows": (write_generation_rows(folder / "rows.jsonl"),),
        "texts": (write_rows(folder / "texts.jsonl.gz", [{"text": text} for text in PLAIN * 4]),),
        "out": folder / "out",
        "shape": GeneratorShape(vocab_size=300, d=16, layers=2, heads=2, intermediate=24, source_layers=1),
        "steps": 6,
        "batch_tokens": 128,
        "dev_rows": 2,
        "dev_every": 3,
        "checkpoint_every": 2,
        "threads": 1,
    }
    return GeneratorSettings(**(plain | changes))


def made_up_rows(n: int = 200, seed: int = 0) -> Rows:
    """Rows of two tasks: those of `simplify` are as many and three times as long; some share a source."""
    rng = np.random.default_rng(seed)
    sources = n * 3 // 4
    lengths = rng.integers(1, 12, sources)
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    tasks = tuple(("simplify", "ask")[i % 2] for i in range(n))
    states: Float16 = rng.normal(size=(int(bounds[-1]), 4)).astype(np.float16)
    return Rows(
        tasks=tasks,
        task_ids=np.array([2 + i % 2 for i in range(n)], np.int32),
        source=np.arange(n, dtype=np.int64) % sources,
        source_ids=rng.integers(4, 50, int(bounds[-1])).astype(np.int32),
        bounds=bounds,
        states=states,
        target_ids=tuple(
            np.append(rng.integers(4, 50, 12 if task == "simplify" else 4), 1).astype(np.int32)
            for task in tasks
        ),
    )
