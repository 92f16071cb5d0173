"""Shape and files of a vector reader: a small causal decoder that writes a text for an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from core.errors import CheckpointError
from encoder.generator_config import DecoderConfig

MODEL_TYPE: Final = "cognate-vector-reader"
PREFIX_WEIGHT: Final = "prefix.weight"  # (x d, e): an embedding to x prefix vectors


@dataclass(frozen=True, slots=True)
class VectorReaderConfig:
    """An embedding of `encoder_d` numbers, by the encoder `encoder_fingerprint`, becomes `prefix` vectors
    before the tokens of a decoder. At most `max_tokens` are written.

    `held_out_loss` is in nats a token on texts it was not trained on, `shuffled_loss` the same with the
    vectors of other texts, and `similarity` the mean cosine of the vector of what was read to what was given.
    """

    id: str
    decoder: DecoderConfig
    encoder_d: int
    encoder_fingerprint: str
    prefix: int = 8
    max_tokens: int = 32
    held_out_loss: float | None = None
    shuffled_loss: float | None = None
    similarity: float | None = None


def reader_to_json(config: VectorReaderConfig) -> dict[str, Any]:
    return {"model_type": MODEL_TYPE, **asdict(config)}


def reader_from_json(content: Mapping[str, Any]) -> VectorReaderConfig:
    """Raises CheckpointError for another kind of model and for fields that do not fit."""
    found = content.get("model_type")
    if found != MODEL_TYPE:
        raise CheckpointError(f"Expected a model of type {MODEL_TYPE!r}, found {found!r}.")
    try:
        fields = {name: value for name, value in content.items() if name != "model_type"}
        return VectorReaderConfig(**{**fields, "decoder": DecoderConfig(**fields["decoder"])})
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"config.json does not describe a vector reader: {error}.") from error


def reader_shapes(config: VectorReaderConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor; those of the decoder as in `encoder.decoder.Decoder`."""
    shape = config.decoder
    d, f = shape.d, shape.intermediate
    shapes: dict[str, tuple[int, ...]] = {
        PREFIX_WEIGHT: (config.prefix * d, config.encoder_d),
        "decoder.embedding.weight": (shape.vocab_size, d),
        "decoder.norm.weight": (d,),
    }
    for i in range(shape.layers):
        block = f"decoder.blocks.{i}"
        shapes |= {f"{block}.{norm}.weight": (d,) for norm in ("self_norm", "feed_norm")}
        shapes |= {
            f"{block}.self_attention.{part}.weight": (d, d) for part in ("query", "key", "value", "output")
        }
        shapes |= {
            f"{block}.feed_forward.up.weight": (f, d),
            f"{block}.feed_forward.down.weight": (d, f),
        }
    return shapes
