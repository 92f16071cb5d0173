"""Use case embed: vectors of texts or token ids, for the dialects that hand them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.documents import check_text
from core.errors import InvalidInput, TooLarge
from core.ports.models import TokenEncoder
from core.types import Float32, Int32, Lane

BULK_FROM_INPUTS = 8
GROUP_CHARACTERS = 1 << 18  # far more than a call of ordinary texts has


def lane_of(inputs: int) -> Lane:
    """A few inputs go before bulk work, of which seconds may be waiting."""
    return Lane.BULK if inputs >= BULK_FROM_INPUTS else Lane.INTERACTIVE


@dataclass(frozen=True, slots=True)
class EmbedLimits:
    max_inputs: int = 2048
    max_input_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Embedded:
    """`vectors` (n, dimensions) float32, unit rows; `tokens` read, special ones too; inputs cut short."""

    vectors: Float32
    tokens: int
    truncated: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EmbedService:
    encoder: TokenEncoder
    limits: EmbedLimits

    def embed(
        self, inputs: Sequence[str | Sequence[int]], dimensions: int | None = None, truncate: bool = False
    ) -> Embedded:
        """Vectors in the order of `inputs`: texts, or token ids of this encoder's tokenizer.

        `dimensions` keeps the first ones and makes them unit length again (Kusupati et al. 2022,
        "Matryoshka representation learning"). An input over the encoder's length is cut if `truncate`, else
        TooLarge is raised. Raises InvalidInput naming the input at fault.
        """
        self._check(inputs, dimensions)
        most = self.encoder.info.max_tokens
        token_ids: list[Int32] = []
        for group in _groups(inputs):
            token_ids += self._token_ids(group)
            if not truncate:
                self._refuse_long(token_ids, len(token_ids) - len(group))
        too_long = tuple(i for i, ids in enumerate(token_ids) if len(ids) > most)
        lane = lane_of(len(inputs))
        vectors = self.encoder.encode_tokens(token_ids, lane)
        read = sum(min(len(ids), most) for ids in token_ids)
        return Embedded(shorten(vectors, dimensions), read, too_long)

    def _refuse_long(self, token_ids: Sequence[Int32], start: int) -> None:
        most = self.encoder.info.max_tokens
        for i in range(start, len(token_ids)):
            if len(token_ids[i]) > most:
                raise TooLarge(
                    f"Input {i} has {len(token_ids[i]):,} tokens, special ones included; this encoder reads"
                    f" {most}. Shorten it, or ask for truncation where the route allows it."
                )

    def _token_ids(self, inputs: Sequence[str | Sequence[int]]) -> list[Int32]:
        texts = [item for item in inputs if isinstance(item, str)]
        of_texts = iter(self.encoder.tokenize(texts))
        return [next(of_texts) if isinstance(item, str) else np.array(item, np.int32) for item in inputs]

    def _check(self, inputs: Sequence[str | Sequence[int]], dimensions: int | None) -> None:
        check_count(len(inputs), self.limits)
        d = self.encoder.info.dim
        if dimensions is not None and not 1 <= dimensions <= d:
            raise InvalidInput(f"dimensions is {dimensions}; this encoder has 1 to {d}.")
        for i, item in enumerate(inputs):
            if isinstance(item, str):
                self._check_text(item, i)
            else:
                self._check_ids(item, i)

    def _check_text(self, text: str, i: int) -> None:
        if not text:
            raise InvalidInput(f"Input {i} is an empty string; there is nothing to embed.")
        size = len(check_text(text, f"input {i}"))
        if size > self.limits.max_input_bytes:
            raise TooLarge(f"Input {i} has {size:,} bytes; the limit is {self.limits.max_input_bytes:,}.")

    def _check_ids(self, ids: Sequence[int], i: int) -> None:
        vocabulary = self.encoder.vocabulary_size
        if not ids:
            raise InvalidInput(f"Input {i} is an empty list of token ids; there is nothing to embed.")
        if not all(0 <= token < vocabulary for token in ids):
            raise InvalidInput(
                f"Input {i} has a token id outside 0 to {vocabulary - 1}, this encoder's vocabulary."
            )


def _groups(inputs: Sequence[str | Sequence[int]]) -> Iterator[Sequence[str | Sequence[int]]]:
    """Inputs that are tokenized together; between them one that is too long is refused without the others."""
    start = size = 0
    for i, item in enumerate(inputs):
        size += len(item)
        if size >= GROUP_CHARACTERS:
            yield inputs[start : i + 1]
            start, size = i + 1, 0
    if start < len(inputs):
        yield inputs[start:]


def check_count(inputs: int, limits: EmbedLimits) -> None:
    """Raises InvalidInput for none, and for more than a call may have."""
    if not 1 <= inputs <= limits.max_inputs:
        raise InvalidInput(f"{inputs:,} inputs were sent; 1 to {limits.max_inputs:,} fit in a call.")


def shorten(vectors: Float32, dimensions: int | None) -> Float32:
    """The first `dimensions` of (n, d) unit rows, made unit length again."""
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimensions]
    norms = np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)
    return np.asarray(cut / norms, dtype=np.float32)
