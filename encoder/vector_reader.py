"""A causal decoder that continues an embedding: the vector becomes a few prefix vectors, then text follows.

Prefixes as in Mokady et al. 2021, "ClipCap: CLIP prefix for image captioning", section 3; that texts can be
read back from their embeddings as in Morris et al. 2023, "Text embeddings reveal (almost) as much as text".
For training and as the reference; `encoder/vector_reading.py` serves it without torch.
Shapes: b vectors, e numbers of each, x prefix vectors, t tokens, d width, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn

from encoder.decoder import Decoder
from encoder.vector_reader_config import VectorReaderConfig


class VectorReaderModel(nn.Module):
    """Unit vectors (b, e) and the tokens (b, t) of their texts to logits of each next token."""

    def __init__(self, config: VectorReaderConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        d = config.decoder.d
        self.decoder = Decoder(config.decoder, dropout)
        self.prefix = nn.Linear(config.encoder_d, config.prefix * d, bias=False)
        nn.init.normal_(self.prefix.weight, std=d**-0.5)

    def forward(self, vectors: Tensor, token_ids: Tensor) -> Tensor:
        """(b, t + 1, V): logits of the first token, then of the one after each of `token_ids`."""
        prefix = self.prefix(vectors).view(len(vectors), self.config.prefix, -1)  # (b, x, d)
        states, _ = self.decoder(token_ids, prefix=prefix)  # (b, x + t, d)
        logits: Tensor = self.decoder.logits(states[:, self.config.prefix - 1 :])
        return logits
