"""Encodes the same texts on a GPU with both, in bf16: `python -m benchmarks.encode --device cuda`.

Rates are end to end (texts in, vectors out). One pass over all texts is split into tokenize, copy and compute
(the last two by CUDA events), and the compute is compared with its floor: the counted FLOPs and bytes of
benchmarks/roofline.py at the device's peaks. Rounds of both are interleaved.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.encode import TOKENS_READ
from benchmarks.roofline import PEAKS, Floor, Peak, floor_of, peak_of
from core.errors import StartRefused
from core.types import Float32, PassageText
from encoder.backends.base import Int32
from encoder.backends.cuda_backend import (
    CUDA_ENGINE_SETTINGS,
    CudaPending,
    StageTimes,
    cuda_backend,
    require_cuda,
)
from encoder.backends.packed_backend import PackedBackend
from encoder.backends.torch_backend import TorchBackend
from encoder.checkpoint import Checkpoint, load_checkpoint
from encoder.convert_minilm import source_folder
from encoder.service import EncoderService, shipped_model
from encoder.tokenizer import Tokenizer

ROUNDS = 3
CHECKED = 500  # texts compared with the reference
PEER_BATCHES = (32, 128, 512)  # its default, and what suits a GPU better; the fastest counts
BATCH_TOKENS = CUDA_ENGINE_SETTINGS.bulk_batch_tokens


@dataclass(frozen=True)
class Report:
    """Rates in our tokens a second; times are of one pass over all texts, in seconds. Cosines are with the
    padded float32 reference of the same weights."""

    device: str
    texts: int
    tokens: int
    ours_tokens_per_s: float
    peer_tokens_per_s: float
    peer_batch: int
    ratio: float
    cosine_mean: float
    cosine_min: float
    tokenize_s: float
    copy_s: float
    compute_s: float
    compute_floor_s: float
    memory_floor_s: float
    share_of_compute_floor: float
    share_of_floor: float
    one_query_p50_ms: float


@dataclass(frozen=True)
class Split:
    """Seconds of one pass over all texts; `batches` forward passes."""

    copy_s: float
    compute_s: float
    batches: int


def run(passages: list[PassageText], peak: Peak | None = None, max_autotune: bool = False) -> Report:
    """Measures both on the same texts; without a `peak` the device's published one is the floor.

    Raises StartRefused without a GPU, and for a device whose peaks are neither given nor known.
    """
    require_cuda()
    peak = peak or _published_peak()
    checkpoint = load_checkpoint(shipped_model(), TOKENS_READ)
    backend = cuda_backend(checkpoint.config, checkpoint.weights, max_autotune)
    service = EncoderService(checkpoint, backend, CUDA_ENGINE_SETTINGS)
    peer = _load_peer()
    texts = [f"{p.title} {p.text}" if p.title else p.text for p in passages]

    def encode_ours() -> Float32:
        return service.encode_passages(passages)

    def encode_peer(batch_size: int) -> Float32:
        vectors: Float32 = peer.encode(texts, batch_size=batch_size, show_progress_bar=False)
        return vectors

    vectors = encode_ours()  # also warms it up
    encode_peer(PEER_BATCHES[0])
    ours_s, *peers_s = _interleave(
        encode_ours, *(lambda size=size: encode_peer(size) for size in PEER_BATCHES)
    )
    one_query_ms = _one_query_ms(service, texts)
    service.close()  # from here on the backend is ours alone
    tokenize_s, token_ids = _tokenize(checkpoint, passages)
    cosines = _cosines(checkpoint, token_ids[:CHECKED], vectors[:CHECKED])
    split = _split(backend, token_ids)
    floor = floor_of(checkpoint.config, [len(ids) for ids in token_ids], split.batches, peak)
    return _report(token_ids, (ours_s, peers_s), cosines, tokenize_s, split, floor, one_query_ms)


def _report(
    token_ids: list[Int32],
    seconds: tuple[float, list[float]],
    cosines: Float32,
    tokenize_s: float,
    split: Split,
    floor: Floor,
    one_query_ms: float,
) -> Report:
    tokens = sum(len(ids) for ids in token_ids)
    ours_s, peers_s = seconds
    peer_s = min(peers_s)
    return Report(
        device=torch.cuda.get_device_name(),
        texts=len(token_ids),
        tokens=tokens,
        ours_tokens_per_s=tokens / ours_s,
        peer_tokens_per_s=tokens / peer_s,
        peer_batch=PEER_BATCHES[peers_s.index(peer_s)],
        ratio=peer_s / ours_s,
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        tokenize_s=tokenize_s,
        copy_s=split.copy_s,
        compute_s=split.compute_s,
        compute_floor_s=floor.compute_s,
        memory_floor_s=floor.memory_s,
        share_of_compute_floor=floor.compute_s / split.compute_s,
        share_of_floor=floor.seconds / split.compute_s,
        one_query_p50_ms=one_query_ms,
    )


def _tokenize(checkpoint: Checkpoint, passages: list[PassageText]) -> tuple[float, list[Int32]]:
    tokenizer = Tokenizer(checkpoint.tokenizer_json, checkpoint.config.max_tokens)
    start = time.perf_counter()
    token_ids = tokenizer.encode_passages(passages)
    return time.perf_counter() - start, token_ids


def _cosines(checkpoint: Checkpoint, token_ids: list[Int32], vectors: Float32) -> Float32:
    """Of `vectors` (n, d) with those of the padded float32 reference of the same weights: (n,)."""
    reference = TorchBackend(checkpoint.config, checkpoint.weights)
    expected = [reference.forward(ids[None], np.array([len(ids)], np.int32))[0] for ids in token_ids]
    found: Float32 = (vectors * np.stack(expected)).sum(1)
    return found


def _split(backend: PackedBackend, token_ids: Sequence[Int32]) -> Split:
    """All batches started one after another, so that the GPU never waits for a result to be read."""
    rounds = []
    for _ in range(ROUNDS + 1):  # the first compiles
        times = _stage_times(backend, token_ids)
        copy_ms = sum(t.copy_in_ms + t.copy_out_ms for t in times)
        rounds.append(Split(copy_ms / 1e3, sum(t.compute_ms for t in times) / 1e3, len(times)))
    return sorted(rounds[1:], key=lambda split: split.compute_s)[ROUNDS // 2]


def _stage_times(backend: PackedBackend, token_ids: Sequence[Int32]) -> list[StageTimes]:
    pending = []
    for batch in _batches(token_ids):
        lengths = np.array([len(ids) for ids in batch], np.int32)
        pending.append(backend.start(np.concatenate(batch), lengths))
    return [batch.times() for batch in pending if isinstance(batch, CudaPending)]


def _batches(token_ids: Sequence[Int32]) -> Iterator[list[Int32]]:
    """Texts in their order, up to BATCH_TOKENS a batch."""
    batch: list[Int32] = []
    tokens = 0
    for ids in token_ids:
        if batch and tokens + len(ids) > BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(ids)
        tokens += len(ids)
    yield batch


def _one_query_ms(service: EncoderService, texts: list[str], queries: int = 200) -> float:
    times = []
    for text in texts[:queries]:
        start = time.perf_counter()
        service.encode_queries([" ".join(text.split()[:5])])
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def _interleave(*works: Callable[[], object]) -> list[float]:
    """Median seconds of each."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, seconds in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def _load_peer() -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(source_folder()), device="cuda", model_kwargs={"dtype": torch.bfloat16})


def _published_peak() -> Peak:
    name = torch.cuda.get_device_name()
    if (peak := peak_of(name)) is None:
        raise StartRefused(
            f"No published peaks are known for '{name}' (known: {', '.join(PEAKS)}); "
            f"give --peak-tflops (dense bf16) and --terabytes-per-s."
        )
    return peak
