"""Names and shapes of a generator's weights: those of the torch model in `encoder/encoder_decoder.py`."""

from __future__ import annotations

from encoder.generator_config import GeneratorConfig

EMBEDDING = "decoder.embedding.weight"


def generator_shapes(config: GeneratorConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a generator of this config needs."""
    d = config.decoder.d
    shapes: dict[str, tuple[int, ...]] = {
        EMBEDDING: (config.decoder.vocab_size, d),
        "decoder.norm.weight": (d,),
        "reader.states.weight": (d, config.encoder_d),
        "reader.norm.weight": (d,),
        "copy.query.weight": (d, d),
        "copy.key.weight": (d, d),
        "copy.gate.weight": (1, 2 * d),
        "copy.gate.bias": (1,),
    }
    for i in range(config.source_layers):
        shapes |= _block(f"reader.blocks.{i}", config, ("self",))
    for i in range(config.decoder.layers):
        shapes |= _block(f"decoder.blocks.{i}", config, ("self", "cross"))
    return shapes


def _block(name: str, config: GeneratorConfig, attentions: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    d, f = config.decoder.d, config.decoder.intermediate
    shapes: dict[str, tuple[int, ...]] = {f"{name}.feed_norm.weight": (d,)}
    for kind in attentions:
        shapes[f"{name}.{kind}_norm.weight"] = (d,)
        for part in ("query", "key", "value", "output"):
            shapes[f"{name}.{kind}_attention.{part}.weight"] = (d, d)
    shapes[f"{name}.feed_forward.up.weight"] = (f, d)
    shapes[f"{name}.feed_forward.down.weight"] = (d, f)
    return shapes
