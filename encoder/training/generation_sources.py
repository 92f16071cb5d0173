"""Rows as arrays: the vocabulary, and the frozen encoder's states of every source, computed once on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.types import Float16, Int32, Int64
from encoder.backends.base import Backend
from encoder.backends.openvino_backend import Precision
from encoder.checkpoint import load_checkpoint
from encoder.generator_config import END
from encoder.generator_tokenizer import GeneratorTokenizer, SourceTokens, train_tokenizer
from encoder.int8 import RANGES
from encoder.service import BackendName, build_backend
from encoder.tokenizer import load_tokenizer, readable
from encoder.training.generation_rows import Row
from encoder.training.generation_settings import TASKS, GeneratorSettings

_CHUNK = 2048
_BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows in arrays. `states` (all source tokens, e) float16 lie on disk.

    Row i has the source tokens `source_ids[bounds[source[i]] : bounds[source[i] + 1]]`, its task's token not
    among them, and the target `target_ids[i]`, which ends with `END`.
    """

    tasks: tuple[str, ...]  # (n,)
    task_ids: Int32  # (n,)
    source: Int64  # (n,)
    source_ids: Int32
    bounds: Int64
    states: Float16
    target_ids: tuple[Int32, ...]

    def source_length(self, row: int) -> int:
        s = self.source[row]
        return int(self.bounds[s + 1] - self.bounds[s]) + 1  # with the task's token


def make_tokenizer(rows: Sequence[Row], vocab_size: int) -> GeneratorTokenizer:
    texts = [text for row in rows for text in (row.source, row.target)]
    return GeneratorTokenizer(train_tokenizer(texts, vocab_size, TASKS))


def prepare_rows(
    rows: Sequence[Row],
    tokenizer: GeneratorTokenizer,
    settings: GeneratorSettings,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rows:
    """Tokenises all rows and reads every different source by the encoder; longer rows are left out.

    The states are kept in `settings.out/sources` and used again for the same sources, vocabulary and encoder.
    """
    unique = {text: i for i, text in enumerate(dict.fromkeys(row.source for row in rows))}
    folder = settings.out / "sources"
    source_ids, bounds, states = _states(list(unique), tokenizer, settings, folder, on_progress)
    targets = tokenizer.encode([row.target for row in rows])
    lengths = np.diff(bounds)
    kept = [
        i
        for i, row in enumerate(rows)
        if 0 < len(targets[i]) < settings.max_target_tokens
        and 0 < lengths[unique[row.source]] <= settings.max_source_tokens
    ]
    task_ids = np.array([tokenizer.task_id(rows[i].task) for i in kept], np.int32)
    return Rows(
        tasks=tuple(rows[i].task for i in kept),
        task_ids=task_ids,
        source=np.array([unique[rows[i].source] for i in kept], np.int64),
        source_ids=source_ids,
        bounds=bounds,
        states=states,
        target_ids=tuple(np.append(targets[i], np.int32(END)) for i in kept),
    )


def _states(
    texts: Sequence[str],
    tokenizer: GeneratorTokenizer,
    settings: GeneratorSettings,
    folder: Path,
    on_progress: Callable[[int, int], None],
) -> tuple[Int32, Int64, Float16]:
    """Cased ids of all texts, their bounds (n + 1,), and the states at their places, mapped from disk."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "done.json"
    names = [folder / f"{name}.npy" for name in ("ids", "bounds", "states")]
    encoder = load_checkpoint(settings.encoder).fingerprint
    read = "\0".join((encoder, _precision(settings.encoder), tokenizer.to_json(), *texts))
    key = hashlib.sha256(read.encode(errors="surrogatepass")).hexdigest()
    if not (done.is_file() and json.loads(done.read_text()) == key):
        done.unlink(missing_ok=True)  # the files are whole no longer
        _write_states(texts, tokenizer, settings, names, on_progress)
        done.write_text(json.dumps(key))
    ids, bounds = np.load(names[0]), np.load(names[1])
    return ids, bounds, np.load(names[2], mmap_mode="r")


def _write_states(
    texts: Sequence[str],
    tokenizer: GeneratorTokenizer,
    settings: GeneratorSettings,
    names: Sequence[Path],
    on_progress: Callable[[int, int], None],
) -> None:
    checkpoint = load_checkpoint(settings.encoder)
    precision = _precision(settings.encoder)
    backend, _ = build_backend(
        settings.encoder, checkpoint, BackendName.OPENVINO, precision, settings.threads
    )
    pieces = load_tokenizer(checkpoint.tokenizer_json)
    pieces.enable_truncation(checkpoint.config.at_once)
    aligned: list[SourceTokens] = []
    for start in range(0, len(texts), _CHUNK):
        part = readable(texts[start : start + _CHUNK])
        aligned.extend(tokenizer.align(part, pieces.encode_batch(part)))
    bounds = np.cumsum([0, *(len(one.token_ids) for one in aligned)])
    np.save(names[0], np.concatenate([one.token_ids for one in aligned]))
    np.save(names[1], bounds)
    states = np.lib.format.open_memmap(
        names[2], mode="w+", dtype=np.float16, shape=(int(bounds[-1]), checkpoint.config.d)
    )
    order = np.argsort([len(one.pieces) for one in aligned], kind="stable")
    at = 0
    while at < len(order):
        count = max(1, _BATCH_TOKENS // len(aligned[order[min(at + 64, len(order) - 1)]].pieces))
        batch = order[at : at + min(count, 64)]
        for i, h in zip(batch, _encoded([aligned[i].pieces for i in batch], backend), strict=True):
            states[bounds[i] : bounds[i + 1]] = h[aligned[i].places]
        at += len(batch)
        on_progress(at, len(order))
    states.flush()


def _precision(encoder: Path) -> Precision:
    """As the service reads."""
    return Precision.INT8 if (encoder / RANGES).is_file() else Precision.BF16


def _encoded(texts: Sequence[Int32], backend: Backend) -> npt.NDArray[np.float32]:
    """Hidden states (b, t, e) of texts of like length."""
    lengths = np.array([len(ids) for ids in texts], np.int32)
    padded = np.zeros((len(texts), backend.padded_length(int(lengths.max()))), np.int32)
    for row, ids in zip(padded, texts, strict=True):
        row[: len(ids)] = ids
    return backend.states(padded, lengths)
