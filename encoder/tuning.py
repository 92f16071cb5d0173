"""Encoders tuned on few labelled texts (core.ports.classifiers.EncoderTuner): adapters made and served.

Serving needs no torch. Tuning does, in a process of its own whose memory is given back when it ends.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from core.errors import EncoderMismatch, InvalidInput, Unavailable
from core.ports.classifiers import Arrays, Going
from core.types import EncoderInfo
from encoder.adapted import AdaptedEncoder, EncoderShelf
from encoder.adapters import adapted_checkpoint, adapted_info, ranges_of
from encoder.backends.openvino_backend import Precision
from encoder.checkpoint import load_checkpoint
from encoder.service import EncoderService, build_backend, shipped_model
from encoder.training.settings import TuneSettings

_log = logging.getLogger(__name__)

_POLL_S = 0.5  # how long a cancellation may wait to be noticed
_ENDED = None
_ERROR_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the service's encoder came from, in the words of `load_encoder`."""

    folder: Path | None
    backend: str
    precision: str
    threads: int = 0


class AdapterTuner:
    """Implements core.ports.classifiers.EncoderTuner for the encoder `base`, which was loaded from `source`.

    The `keep` tuned encoders used last stay loaded.
    """

    def __init__(
        self, base: EncoderInfo, source: ModelSource, settings: TuneSettings | None = None, keep: int = 2
    ) -> None:
        self._base = base
        self._source = source
        self._folder = source.folder or shipped_model()
        self._settings = settings or TuneSettings()
        self._shelf = EncoderShelf(self._load, keep)

    def tune(self, texts: Sequence[str], truth: npt.NDArray[Any], seed: int, going: Going) -> Arrays:
        """Adapter arrays (float16) for `texts` with `truth` (n, c) bool.

        `going` is told the share done at least twice a second; what it raises ends the work. Raises
        InvalidInput when there is nothing to tell apart, Unavailable when torch is not installed, when the
        process is killed or fails, and for an encoder that cannot be tuned.
        """
        if find_spec("torch") is None:
            raise Unavailable(
                "Fine-tuning needs torch, which is not installed; install 'cognate[torch]', or train without"
                " fine_tune."
            )
        if len(truth) != len(texts) or truth.any(axis=0).sum() < 2:
            raise InvalidInput(
                f"Fine-tuning needs examples of at least two labels and the labels of each text; found"
                f" {len(texts)} texts, labels of {len(truth)}, and {int(truth.any(axis=0).sum())} labels with"
                " examples."
            )
        with TemporaryDirectory(prefix="cognate-tune-") as name:
            folder = Path(name)
            (folder / "task.json").write_text(json.dumps(self._task(texts, truth, seed)), encoding="utf-8")
            _run(folder, going)
            return load_file(folder / "adapters.safetensors")

    def encoder(self, adapters: Arrays) -> AdaptedEncoder:
        """The service's encoder with these adapters; it is loaded when first used."""
        return AdaptedEncoder(self._shelf, adapters, adapted_info(self._base, adapters))

    def close(self) -> None:
        """Ends the tuned encoders; what they do afterwards raises Unavailable."""
        self._shelf.close()

    def _task(self, texts: Sequence[str], truth: npt.NDArray[Any], seed: int) -> dict[str, Any]:
        return {
            "model": str(self._folder.resolve()),
            "max_tokens": self._base.max_tokens,
            "texts": list(texts),
            "labels": [np.flatnonzero(row).tolist() for row in truth],
            "seed": seed,
            "threads": self._source.threads,
            "settings": asdict(self._settings),
        }

    def _load(self, adapters: Arrays, info: EncoderInfo) -> EncoderService:
        checkpoint = load_checkpoint(self._folder, self._base.max_tokens)
        if checkpoint.fingerprint != self._base.fingerprint:
            raise EncoderMismatch(
                f"The model folder {self._folder} holds encoder {checkpoint.fingerprint[:12]}, but this"
                f" service started with {self._base.fingerprint[:12]}; restart the service."
            )
        checkpoint = adapted_checkpoint(checkpoint, adapters, info)
        precision = Precision(self._source.precision)
        ranges = ranges_of(adapters) if precision is Precision.INT8 else None
        backend, settings = build_backend(
            self._folder, checkpoint, self._source.backend, precision, self._source.threads, None, ranges
        )
        return EncoderService(checkpoint, backend, settings)


def _run(folder: Path, going: Going) -> None:
    """Runs the process to its end, or until `going` raises."""
    root = str(Path(__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with (folder / "errors.txt").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "encoder.training.tune_process", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            text=True,
        )
    with process:
        try:
            _follow(process, going)
        finally:
            process.kill()
    if process.returncode:
        raise _failure(process.returncode, (folder / "errors.txt").read_text(errors="replace"))


def _follow(process: subprocess.Popen[str], going: Going) -> None:
    """Tells `going` the share done until the process ends."""
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines.put), daemon=True)
    reader.start()
    share = 0.0
    going(share)
    while True:
        try:
            line = lines.get(timeout=_POLL_S)
        except queue.Empty:
            going(share)
            continue
        if line is _ENDED:
            process.wait()
            return
        share = float(line)
        going(share)


def _read(process: subprocess.Popen[str], put: Callable[[str | None], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        put(line)
    put(_ENDED)


def _failure(code: int, errors: str) -> Unavailable:
    """The last line of `errors` says why; the log has more of them."""
    if code < 0:
        return Unavailable(
            f"The process that tunes the encoder was ended by signal {-code}; it may have needed more memory"
            " than there is. Try again later, or train without fine_tune."
        )
    _log.warning("Tuning the encoder failed: %s", errors[-_ERROR_CHARACTERS:].strip())
    reason = errors.strip().rpartition("\n")[-1] or f"its process ended with code {code}"
    return Unavailable(f"Tuning the encoder failed: {reason}")
