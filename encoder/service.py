"""The encoder as the rest of Cognate sees it: texts in, unit vectors out (core.ports.Encoder)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from enum import StrEnum
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import tokenizers

from core.errors import CheckpointError, StartRefused
from core.memory import return_freed_memory
from core.token_types import TokenizedPassage, TokenParts
from core.types import EncoderInfo, Float32, Int64, Lane, PassageText
from encoder.backends.base import Backend, Int32
from encoder.backends.openvino_backend import OpenVinoBackend, Precision
from encoder.checkpoint import Checkpoint, Reference, load_checkpoint, load_reference, require_ids
from encoder.config import Pooling
from encoder.engine import Engine, EngineSettings, EngineStats
from encoder.int8 import Ranges, load_ranges
from encoder.parts import splitter
from encoder.tokenizer import Located, Tokenizer
from encoder.unknown_tokens import UnknownTokens
from encoder.windows import mixed, mixed_parts, windows

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

DEFAULT_MODEL = "cognate-small"
MIN_PARITY = 0.99
_SLICE = 256  # texts tokenised at a time, while the engine runs those before; two fit its bulk lane


class BackendName(StrEnum):
    """What does the arithmetic: `openvino` on a CPU, `cuda` on a GPU, `torch` as the reference on either."""

    OPENVINO = "openvino"
    TORCH = "torch"
    CUDA = "cuda"


class EncoderService:
    """Implements core.ports.Encoder over a tokenizer and an engine; safe to call from many threads.

    `parity` is the mean cosine of the backend's vectors with the stored reference vectors, None for a model
    folder that has none. All encoding raises InvalidInput for items that are not strings, and what
    `Engine.submit` raises.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        backend: Backend,
        settings: EngineSettings | None = None,
        parity: float | None = None,
    ) -> None:
        config = checkpoint.config
        self.parity = parity
        self._config = config
        self._info = EncoderInfo(config.id, checkpoint.fingerprint, config.d, config.max_tokens)
        self._tokenizer = Tokenizer(checkpoint.tokenizer_json, config.max_tokens)
        self._unknown = UnknownTokens(config.id, self._tokenizer.unknown_id)
        self._split = splitter(config, checkpoint.weights)
        self._backend, self._bulk_states = backend, backend.bulk_states
        self._reading = threading.Lock()
        self._engine = Engine(backend, config.d, settings)

    @property
    def info(self) -> EncoderInfo:
        return self._info

    @property
    def at_once(self) -> int:
        """Tokens of the longest input that is read in one window."""
        return self._config.at_once

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        """(n, d) float32, rows of unit length, in the order of `texts`."""
        prompt = self._config.query_prompt
        return self._encode(texts, lambda part: self._tokenizer.encode(part, prompt), lane)

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        """(n, d) float32, rows of unit length, in the order of `passages`."""
        prompt = self._config.passage_prompt
        return self._encode(passages, lambda part: self._tokenizer.encode_passages(part, prompt), lane)

    def tokenize_passages(self, passages: Sequence[PassageText]) -> list[TokenizedPassage]:
        """Each with its token ids, prompt and special tokens included, not truncated."""
        found = self._tokenizer.tokenize_passages(passages, self._config.passage_prompt)
        return [TokenizedPassage(passage, ids) for passage, ids in zip(passages, found, strict=True)]

    def encode_tokenized(self, passages: Sequence[TokenizedPassage], lane: Lane = Lane.BULK) -> Float32:
        """(n, d) float32, equal to what `encode_passages` gives for them."""
        return self.encode_tokens([passage.token_ids for passage in passages], lane)

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        """One (t, 2) array a text: character offsets of its tokens, without special tokens or truncation."""
        return self._tokenizer.token_spans(texts)

    @property
    def batch_tokens(self) -> int:
        """Tokens that are computed at once, of many inputs together."""
        return self._engine.batch_tokens

    @property
    def vocabulary_size(self) -> int:
        return self._tokenizer.vocabulary_size

    @property
    def pooling(self) -> str:
        """`mean`, or `cls`: class attention is by a CLS query too."""
        return "mean" if self._config.pooling is Pooling.MEAN else "cls"

    def tokenize(self, texts: Sequence[str]) -> list[Int32]:
        """One (t,) array a text, special tokens included, not truncated."""
        return self._tokenizer.tokenize(texts)

    def encode_tokens(self, token_ids: Sequence[Int32], lane: Lane) -> Float32:
        """(n, d) float32, unit rows; longer inputs than the encoder reads are cut, their last token kept."""
        return self._encode(token_ids, lambda part: [self._tokenizer.cut(ids) for ids in part], lane)

    def query_parts(self, text: str) -> TokenParts:
        """The query's embedding as a sum over its tokens. Raises InvalidInput when its pooling is no sum."""
        return self._parts([self._tokenizer.locate(PassageText("", text), self._config.query_prompt)])[0]

    def passage_parts(self, passages: Sequence[PassageText]) -> list[TokenParts]:
        """Like `query_parts`, for passages, in their order."""
        prompt = self._config.passage_prompt
        return self._parts([self._tokenizer.locate(passage, prompt) for passage in passages])

    def _parts(self, located: Sequence[Located]) -> list[TokenParts]:
        return [
            TokenParts(one.tokens, one.words, self._token_parts(one.ids), one.is_truncated) for one in located
        ]

    def _token_parts(self, token_ids: Int32) -> Float32:
        of_one = windows(token_ids, self._config.at_once)
        parts = [self._split(self.states(ids)) for ids in of_one]
        return mixed_parts(parts, of_one) if len(parts) > 1 else parts[0]

    def pieces(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """What the encoder reads at once of each text, without a prompt: word pieces with their places."""
        found = self._tokenizer.pieces(texts)
        for i, encoding in enumerate(found):
            if len(encoding.ids) > self.at_once:
                _, end = encoding.offsets[self.at_once - 2]  # of the last piece beside the special tokens
                (found[i],) = self._tokenizer.pieces([texts[i][:end]])
        return found

    def states(self, token_ids: Int32, lane: Lane = Lane.INTERACTIVE) -> Float32:
        """Hidden states of the last layer (t, d) of one text (t,) that the blocks read at once.

        Between two calls searches have a turn.

        In the bulk lane they are computed beside searches and give way to them, where the backend can.
        """
        if lane is Lane.BULK and self._bulk_states is not None:
            with self._reading:
                return self._bulk_states(*_padded(self._backend, token_ids))[0, : len(token_ids)]
        return self._engine.run(lambda backend: _states(backend, token_ids))

    def stats(self) -> EngineStats:
        return self._engine.stats()

    def close(self) -> None:
        """Ends the engine; requests in progress fail with Unavailable."""
        self._engine.close()

    def _encode(
        self, items: Sequence[_T], tokenize: Callable[[Sequence[_T]], list[Int32]], lane: Lane
    ) -> Float32:
        def cut(part: Sequence[_T]) -> list[list[Int32]]:
            token_ids = tokenize(part)
            self._unknown.look_at(token_ids)
            return [windows(ids, self._config.at_once) for ids in token_ids]

        if len(items) <= _SLICE:
            inputs = cut(items)
            return mixed(self._engine.encode(list(chain.from_iterable(inputs)), lane), inputs)
        if lane is Lane.INTERACTIVE:  # one after another: its lane refuses what is more than it holds
            return np.concatenate([self._encode(part, tokenize, lane) for part in _sliced(items)])
        waiting: list[tuple[Future[Float32], list[list[Int32]]]] = []
        try:
            waiting.extend(
                (self._engine.submit(list(chain.from_iterable(inputs)), lane), inputs)
                for inputs in map(cut, _sliced(items))
            )
        except BaseException:
            for future, _ in waiting:
                future.cancel()
            raise
        return np.concatenate([mixed(future.result(), inputs) for future, inputs in waiting])


def load_encoder(
    folder: Path | None = None,
    backend: str = BackendName.OPENVINO,
    precision: str = Precision.BF16,
    threads: int = 0,
    max_tokens: int | None = None,
    settings: EngineSettings | None = None,
) -> EncoderService:
    """Loads a model folder (None: the shipped `cognate-small`) and checks the backend against its reference.

    `threads` of 0 means all cores; `precision` is of the openvino backend, torch computes in float32 and cuda
    in bf16. Raises StartRefused for cuda without a GPU that can.
    Raises CheckpointError for a bad folder, for int8 without ranges calibrated for these very weights, and
    when the mean cosine to the reference is below 0.99.
    """
    folder = folder or shipped_model()
    checkpoint = load_checkpoint(folder, max_tokens)
    if not checkpoint.config.normalize:
        raise CheckpointError(f"{folder} gives vectors that are not normalised; set 'normalize' to true.")
    require_ids(folder, checkpoint.tokenizer_json, checkpoint.config.vocab_size)
    reference = load_reference(folder)
    chosen, settings = build_backend(folder, checkpoint, backend, Precision(precision), threads, settings)
    parity = None if reference is None else measure_parity(checkpoint, chosen, reference)
    _log.info("Encoder %s on %s: parity with its reference %s", checkpoint.config.id, backend, parity)
    if parity is not None and not parity >= MIN_PARITY:
        raise CheckpointError(
            f"{folder} on {backend}: mean cosine to its reference vectors is {parity:.4f}, expected at least "
            f"{MIN_PARITY}. Weights, tokenizer or backend do not belong together."
        )
    service = EncoderService(checkpoint, chosen, settings, parity)
    del checkpoint, reference  # the backend and the service hold what they need
    return_freed_memory()
    return service


def build_backend(
    folder: Path,
    checkpoint: Checkpoint,
    backend: str,
    precision: Precision,
    threads: int,
    settings: EngineSettings | None = None,
    ranges: Ranges | None = None,
) -> tuple[Backend, EngineSettings | None]:
    """What runs this checkpoint, and the engine settings that suit it; raises what `load_encoder` does.

    `ranges` for int8 are read from the folder unless given.
    """
    if BackendName(backend) is BackendName.OPENVINO and _has_graph(checkpoint):
        if precision is Precision.INT8 and ranges is None:
            ranges = load_ranges(folder, checkpoint.weights_sha256)
        return _build_openvino(checkpoint, precision, threads, ranges), settings
    if BackendName(backend) is BackendName.CUDA:
        return _build_cuda(checkpoint, settings)
    return _build_torch(checkpoint, threads), settings


def _states(backend: Backend, ids: Int32) -> Float32:
    """Hidden states (t, d) of one text."""
    return backend.states(*_padded(backend, ids))[0, : len(ids)]


def _padded(backend: Backend, ids: Int32) -> tuple[Int32, Int32]:
    """A batch of one text, and its length."""
    padded = np.zeros((1, backend.padded_length(len(ids))), np.int32)
    padded[0, : len(ids)] = ids
    return padded, np.array([len(ids)], np.int32)


def shipped_model() -> Path:
    """Folder of the model that comes with the package."""
    return Path(str(files("encoder"))) / "weights" / DEFAULT_MODEL


def measure_parity(checkpoint: Checkpoint, backend: Backend, reference: Reference) -> float:
    """Mean cosine of the backend's vectors of the reference texts with the stored ones."""
    tokenizer = Tokenizer(checkpoint.tokenizer_json, reference.max_tokens)
    cosines = []
    for token_ids, expected in zip(tokenizer.encode(reference.texts), reference.vectors, strict=True):
        vector = backend.forward(*_padded(backend, token_ids))[0]
        cosines.append(float(vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)))
    return float(np.mean(cosines))


def _has_graph(checkpoint: Checkpoint) -> bool:
    if checkpoint.config.modern:
        _log.warning("The encoder %s is a modernbert, which runs on the torch backend", checkpoint.config.id)
    return checkpoint.config.modern is None


def _build_openvino(
    checkpoint: Checkpoint, precision: Precision, threads: int, ranges: Ranges | None
) -> Backend:
    backend = OpenVinoBackend(checkpoint.config, checkpoint.weights, precision, threads, ranges)
    backend.warm_up()
    return backend


def _build_torch(checkpoint: Checkpoint, threads: int) -> Backend:
    try:
        from encoder.backends.torch_backend import TorchBackend  # torch is optional: only its users import it
    except ModuleNotFoundError as error:
        raise StartRefused(f"The backend 'torch' needs torch ({error}): install 'cognate[torch]'.") from error
    return TorchBackend(checkpoint.config, checkpoint.weights, threads)


def _build_cuda(checkpoint: Checkpoint, settings: EngineSettings | None) -> tuple[Backend, EngineSettings]:
    """With micro-batches of a GPU's size unless other `settings` are given."""
    try:
        from encoder.backends.cuda_backend import CUDA_ENGINE_SETTINGS, cuda_backend
    except ModuleNotFoundError as error:
        raise StartRefused(f"The backend 'cuda' needs torch ({error}): install 'cognate[torch]'.") from error
    return cuda_backend(checkpoint.config, checkpoint.weights), settings or CUDA_ENGINE_SETTINGS


def _sliced(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _SLICE):
        yield items[start : start + _SLICE]
